"""The stand-ins are balanced, share no source across splits, and never change."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from replib.data import ROLES, Data, role
from replib.data.load import PARTS, fingerprint, load
from replib.data.splits import balanced, centre, resize, stratified
from replib.data.stand_ins import STAND_INS, digits_pool, mnist_pool
from replib.spec import ReplibError, SpecError, key

torch.set_num_threads(1)

DIGITS = ("digits", "digit_pairs", "scenes")
FINGERPRINTS = {
    "digits": "7a4574f7d2a9ab34",
    "digit_pairs": "1d69a6964bff506b",
    "scenes": "70ffac295f23ef39",
    "mnist_fine": "cc761ce69509c8cc",
    "mnist14": "2b22da4f11cac10d",
    "mnist28": "94c2488a524dc751",
    "mnist_source": "724c93fc0affa767",
    "further_fine": "59b49c2b5f050e57",
    "further_inverted": "e8a419db12668c00",
}


def test_every_embedded_role_has_a_builder():
    assert {name for name, r in ROLES.items() if r.embedded} == set(STAND_INS) == set(FINGERPRINTS)


@pytest.mark.parametrize("name", STAND_INS)
def test_the_table_tells_the_truth(name):
    split, entry = load(Data(name)), role(name)
    assert [len(getattr(split, p)) for p in PARTS] == [entry.n_train, entry.n_val, entry.n_test]
    assert split.classes == entry.classes
    assert split.shape == entry.shape
    for part in PARTS:
        images = getattr(split, part)
        assert images.x.dtype == torch.uint8
        assert images.y.dtype == torch.int64
        assert images.x.shape == (len(images), *entry.shape)
        counts = torch.bincount(images.y, minlength=entry.classes)
        pool_is_uneven = part == "test" and entry.n_test == 897  # all the digits that are left, 174 to 183 of each class
        assert counts.max() - counts.min() <= (9 if pool_is_uneven else 0)
    assert len(split.source) == len(split.test)


@pytest.mark.parametrize("name", sorted(set(STAND_INS) - {"mnist14"}))
def test_mean_and_std_are_those_of_the_training_pixels(name):
    pixels = load(Data(name)).train.x.double() / 255
    assert role(name).mean[0] == pytest.approx(float(pixels.mean()), abs=6e-5)
    assert role(name).std[0] == pytest.approx(float(pixels.std(correction=0)), abs=6e-5)


@pytest.mark.parametrize("name", STAND_INS)
def test_splits_share_no_source(name):
    members = STAND_INS[name]().members
    train, val, test = (set(members[p].ravel().tolist()) for p in PARTS)
    assert not train & val
    assert not train & test
    assert not val & test


def test_stand_ins_of_one_pool_never_test_on_what_another_trained_on():
    # a net moved from one of these sets to another must not have seen its test digits
    seen = {p: set().union(*(STAND_INS[n]().members[p].ravel().tolist() for n in DIGITS)) for p in PARTS}
    assert not (seen["train"] | seen["val"]) & seen["test"]


def test_pretraining_and_downstream_pictures_come_from_different_pools():
    assert role("mnist_source").source_pool not in {role(name).source_pool for name in DIGITS}
    source = {x.tobytes() for x in resize(mnist_pool()[0], 8, 8)}
    assert not source & {x.tobytes() for x in digits_pool()[0]}


@pytest.mark.parametrize("name", STAND_INS)
def test_pictures_with_different_source_numbers_share_no_digit(name):
    raw = STAND_INS[name]()
    owner: dict[int, int] = {}
    for number, digits in zip(raw.source.tolist(), raw.members["test"].tolist(), strict=True):
        for digit in digits:
            assert owner.setdefault(digit, number) == number


@pytest.mark.parametrize("name", STAND_INS)
def test_classes_follow_from_the_digits(name):
    raw = STAND_INS[name]()
    pool = digits_pool()[1] if name in DIGITS else mnist_pool()[1]
    for part in PARTS:
        digits, y = pool[raw.members[part]], getattr(raw, part)[1]
        np.testing.assert_array_equal(digits @ (10, 1) if digits.shape[1] == 2 else digits[:, 0], y % 100)


def test_a_pair_shows_its_two_digits_in_order():
    raw, (x, _) = STAND_INS["digit_pairs"](), digits_pool()
    for picture, (left, right) in zip(raw.test[0], raw.members["test"], strict=True):
        np.testing.assert_array_equal(picture[:, :, :8], x[left])
        np.testing.assert_array_equal(picture[:, :, 8:], x[right])
        assert left != right


def test_the_layout_of_mnist_fine_is_its_hundreds():
    x, y = STAND_INS["mnist_fine"]().train
    assert not x[y < 100][:, :, :4].any()
    assert not x[y >= 100][:, :, :, :4].any()
    assert x[y < 100][:, :, :, :4].any()
    assert x[y >= 100][:, :, :4].any()


def test_a_scene_has_its_digit_in_the_middle_and_others_beside_it():
    raw, (pool, _) = STAND_INS["scenes"](), digits_pool()
    found = set()
    for picture, (middle, *others) in zip(raw.val[0][:, 0], raw.members["val"], strict=True):
        digit = pool[middle, 0]
        places = [(i, j) for i in (1, 2, 3) for j in (1, 2, 3) if (picture[i : i + 8, j : j + 8] >= digit).all()]
        assert places
        assert middle not in others
        found.update(places if len(places) == 1 else ())
    assert len(found) == 9  # all places occur
    assert raw.val[0][:, 0, :, 0].any()
    assert raw.val[0][:, 0, :, -1].any()


def test_digits_are_stretched_exactly():
    x, _ = digits_pool()
    assert set(np.unique(x)) == {round(v * 255 / 16) for v in range(17)}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_no_bit_ever_changes(name):
    load.__globals__["_load"].cache_clear()
    assert fingerprint(load(Data(name))) == FINGERPRINTS[name]


def test_fingerprint_sees_every_part():
    a = load(Data("digits"))
    assert len({fingerprint(load(Data("digits", **{n: 300}))) for n in ("n_train", "n_val", "n_test")} | {fingerprint(a)}) == 4


def test_loading_twice_is_free_and_gives_the_same_tensors():
    assert load(Data("digits")) is load(Data("digits"), root="/nowhere")


def test_subsets_are_balanced_and_nested():
    small, large = (load(Data("digits", n_train=n)).train for n in (95, 200))
    counts = torch.bincount(small.y)
    assert len(small) == 95
    assert counts.max() - counts.min() == 1
    rows = {bytes(x.numpy().tobytes()) for x in large.x}
    assert all(x.numpy().tobytes() in rows for x in small.x)


def test_a_subset_may_be_the_first_pictures_whatever_their_classes():
    whole, first = load(Data("digits")), load(Data("digits", n_train=95, subset="first"))
    assert torch.equal(first.train.x, whole.train.x[:95])
    assert torch.equal(first.val.x, whole.val.x)
    assert torch.bincount(first.train.y).max() - torch.bincount(first.train.y).min() > 1
    with pytest.raises(SpecError, match="subset"):
        Data("digits", subset="last")


def test_a_subset_keeps_the_sources_of_its_pictures():
    whole, part = load(Data("digits")), load(Data("digits", n_test=100))
    place = [whole.source.tolist().index(s) for s in part.source.tolist()]
    torch.testing.assert_close(whole.test.x[place], part.test.x, rtol=0, atol=0)


def test_a_class_that_runs_out_is_filled_up_by_others():
    y = np.array([0] * 2 + [1] * 10)
    assert np.bincount(y[balanced(y, 8, 2)]).tolist() == [2, 6]


def test_stratified_split_uses_everything_once_and_refuses_the_impossible():
    y = np.repeat(np.arange(3), [10, 11, 12])
    parts = stratified(y, (6, 9), "test")
    assert [np.bincount(y[p]).tolist() for p in parts] == [[2, 2, 2], [3, 3, 3], [5, 6, 7]]
    assert sorted(np.concatenate(parts)) == list(range(33))
    with pytest.raises(ValueError, match="no split"):
        stratified(y, (7,), "test")
    with pytest.raises(ValueError, match="no split"):
        stratified(y, (33,), "test")


def test_height_keeps_the_aspect_ratio():
    assert load(Data("digit_pairs", height=14)).train.x.shape == (1000, 1, 14, 28)
    assert Data("digits", height=14).shape == (1, 14, 14)
    assert Data("digits", height=16).augmentation.pad == 2


def test_resize_means_areas_and_interpolates():
    x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(resize(x, 2, 2)[0, 0], [[2, 4], [10, 12]])  # means 2.5, 4.5, 10.5, 12.5, ties to even
    np.testing.assert_array_equal(resize(np.full((1, 1, 5, 7), 9, np.uint8), 3, 11), 9)
    wide = resize(np.array([[[[0, 100]]]], np.uint8), 1, 4)
    np.testing.assert_array_equal(wide[0, 0, 0], [0, 25, 75, 100])


def test_resize_in_blocks_is_resize_of_the_whole(monkeypatch):
    x = digits_pool()[0][:23]
    whole = resize(x, 21, 13)
    monkeypatch.setattr("replib.data.splits.BLOCK", 5)
    np.testing.assert_array_equal(resize(x, 21, 13), whole)


def test_resize_needs_no_float_copy_of_a_whole_set():
    x = np.zeros((2000, 1, 8, 8), np.uint8)
    tracemalloc.start()
    out = resize(x, 56, 56)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * out.nbytes  # the pictures, and blocks of 256 in float64; all 2,000 of them in float64 alone would be eight times


def test_evaluation_looks_at_the_middle_of_larger_pictures_where_training_cuts_out_parts():
    """256 pixels and the middle 224 of them, or here 16 and 14."""
    split = load(Data("mnist14", augment="resized", n_train=20, n_val=10, n_test=30, height=14))
    plain = load(Data("mnist14", n_train=20, n_val=10, n_test=30))
    assert torch.equal(split.train.x, plain.train.x)
    expected = centre(resize(plain.test.x.numpy(), 16, 16), 14, 14)
    np.testing.assert_array_equal(split.test.x.numpy(), expected)


def test_resize_agrees_with_torch():
    x = digits_pool()[0][:20]
    ours = torch.from_numpy(resize(x, 14, 14)).double()
    theirs = torch.nn.functional.interpolate(torch.from_numpy(x).double(), (14, 14), mode="bilinear")
    assert (ours - theirs).abs().max() <= 0.5 + 1e-9


def test_values_that_no_run_can_have():
    with pytest.raises(SpecError, match="Did you mean 'digits'"):
        Data("digit")
    with pytest.raises(SpecError, match="401"):
        Data("digits", n_train=401)
    with pytest.raises(SpecError, match="n_val"):
        Data("digits", n_val=0)
    with pytest.raises(SpecError, match="height"):
        Data("digits", height=2)
    assert key(Data("digits")) != key(Data("digits", n_train=100))


def test_a_changed_package_is_noticed(monkeypatch, tmp_path):
    from replib.data import stand_ins

    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    spec = type("Found", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(stand_ins.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ReplibError, match=r"constraints\.txt"):
        stand_ins._packaged("a", "a", "a.csv", "0" * 64)
    with pytest.raises(ReplibError, match="pip install"):
        stand_ins._packaged("a", "a", "b.csv", "0" * 64)


def test_choosing_needs_no_torch_and_loading_needs_no_network():
    code = (
        "import sys, socket\n"
        "import replib.data, replib.data.status\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from replib.data.load import load\n"
        "load(replib.data.Data('scenes')), load(replib.data.Data('mnist14'))\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
