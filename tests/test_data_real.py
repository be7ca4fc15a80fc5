"""Missing and damaged files are named with their remedy; real files, if present, become the published splits."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from replib.data import ROLES, Data
from replib.data.listings import LISTINGS
from replib.data.load import PARTS, load
from replib.data.real import READERS, _tail, tiny_imagenet_subset
from replib.data.status import SOURCES, Archive, Source, data_root, examine, fetch, report, require
from replib.spec import ReplibError

torch.set_num_threads(1)

REAL = [name for name, entry in ROLES.items() if not entry.embedded]


def test_every_real_set_has_a_source_and_a_reader():
    assert set(REAL) == set(SOURCES) == {*READERS, *LISTINGS}
    assert not {*READERS} & {*LISTINGS}


@pytest.mark.parametrize("name", REAL)
def test_a_missing_set_says_what_to_fetch(name, tmp_path):
    with pytest.raises(ReplibError) as error:
        load(Data(name), root=tmp_path)
    text = str(error.value)
    assert "missing" in text
    assert str(tmp_path) in text
    for archive in SOURCES[name].archives:
        assert archive.url in text
        assert archive.md5 in text
        assert f"{archive.size / 1e6:.1f} MB" in text
        assert f"replib data {name} --fetch" in text


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "svhn"])
def test_a_wrong_checksum_is_damage(name, tmp_path):
    for file, _ in SOURCES[name].files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"not it")
    first, md5 = SOURCES[name].files[0]
    with pytest.raises(ReplibError, match="damaged") as error:
        load(Data(name), root=tmp_path)
    assert str(tmp_path / first) in str(error.value)
    assert md5 in str(error.value)


def test_a_foreign_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for file, _ in SOURCES["cifar10"].files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ReplibError, match="damaged"):
        load(Data("cifar10"), root=tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_checksums_are_those_of_torchvision():
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN

    for name, cls in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        assert SOURCES[name].archives[0].md5 == cls.tgz_md5
        theirs = [*cls.train_list, *cls.test_list, [cls.meta["filename"], cls.meta["md5"]]]
        assert SOURCES[name].files == tuple((f"{cls.base_folder}/{f}", md5) for f, md5 in theirs)
    assert [(a.file, a.md5) for a in SOURCES["mnist"].archives] == list(MNIST.resources)
    assert [(a.file, a.md5) for a in SOURCES["svhn"].archives] == [tuple(SVHN.split_list[s][1:]) for s in ("train", "test")]


def test_a_damaged_subset_file_is_named(tmp_path):
    path = tmp_path / "cifar100_subset.npz"
    arrays = {k: np.zeros((100, 4), np.uint8) for k in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(path, **arrays)
    assert examine("cifar100_subset", tmp_path)[0] == "present"
    with pytest.raises(ReplibError, match="not the expected cut"):
        load(Data("cifar100_subset"), root=tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert examine("cifar100_subset", tmp_path)[0] == "damaged"
    np.savez(path, x_train=np.zeros(3))
    assert "no x_test.npy" in examine("cifar100_subset", tmp_path)[1]


@pytest.fixture
def tiny(tmp_path):
    """A folder in the official layout, 2 classes × 3 training and 2 validation pictures, whose colour tells which it
    is.
    """
    folder = tmp_path / "tiny-imagenet-200"
    wnids = ["n2", "n1"]
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")

    def save(path, value, mode="RGB"):
        Image.new(mode, (64, 64), (value,) * 3 if mode == "RGB" else value).save(path, "JPEG")

    notes = []
    for c, wnid in enumerate(wnids):
        (folder / "train" / wnid / "images").mkdir(parents=True)
        for i in range(3):
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 100 * c + 10 * i, "L" if i == 1 else "RGB")
        for i in range(2):
            save(folder / "val" / "images" / f"val_{2 * i + c}.JPEG", 100 * c + 50 + i)
            notes.append(f"val_{2 * i + c}.JPEG\t{wnid}\t0\t0\t9\t9")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(notes) + "\n")
    return tmp_path


def test_tiny_imagenet_is_read_in_the_order_of_sorted_folders(tiny):
    from replib.data.real import _tiny

    x, y, (x_test, y_test) = _tiny(tiny, 500, 50)
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    assert x[:, 0, 5, 5].tolist() == [100, 110, 120, 0, 10, 20]  # n1 comes first, though wnids.txt names n2 first
    assert y_test.tolist() == [0, 0, 1, 1]
    assert x_test[:, 2, 5, 5].tolist() == [150, 151, 50, 51]
    assert len(_tiny(tiny, 2, 1)[0]) == 4


def test_a_broken_picture_is_named(tiny):
    from replib.data.real import _tiny

    path = tiny / "tiny-imagenet-200" / "train" / "n1" / "images" / "n1_2.JPEG"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReplibError, match=r"n1_2\.JPEG is damaged"):
        _tiny(tiny, 500, 50)


def test_a_tiny_imagenet_folder_that_lacks_pictures_is_damaged(tiny):
    assert "2 classes instead of 200" in examine("tiny_imagenet", tiny)[1]
    (tiny / "tiny-imagenet-200" / "wnids.txt").write_text("\n".join(f"n{i}" for i in range(200)))
    state, detail = examine("tiny_imagenet_subset", tiny)
    assert state == "damaged"
    assert "0 training" in detail
    (tiny / "tiny-imagenet-200" / "val" / "images" / "val_0.JPEG").unlink()
    assert "lacks 1 pictures" in examine("tiny_imagenet", tiny)[1]
    with pytest.raises(ReplibError, match="damaged"):
        tiny_imagenet_subset(tiny)


def test_data_root_prefers_what_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("REPLIB_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert data_root("elsewhere").name == "elsewhere"
    monkeypatch.delenv("REPLIB_DATA")
    assert data_root().parts[-2:] == (".cache", "replib")


def test_report_has_a_row_for_every_set(tmp_path):
    rows = report((), tmp_path)
    assert [r["name"] for r in rows] == list(ROLES)
    for row in rows:
        assert (row["state"], row["remedy"] == "") in {("present", True), ("missing", False)}
        assert (row["state"] == "present") == ROLES[row["name"]].embedded
    row = report(["cifar10"], tmp_path)[0]
    assert (row["files"], row["bytes"]) == (("cifar-10-python.tar.gz",), 170_498_071)
    with pytest.raises(ReplibError, match="Did you mean 'cifar10'"):
        report(["cifar"], tmp_path)


def test_a_failed_download_says_how_to_do_it_by_hand(monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, "svhn", Source("us", (Archive("http://127.0.0.1:9/a.mat", 1, "0"),), (("a.mat", "0"),)))
    with pytest.raises(ReplibError, match=r"Fetching 'svhn' failed: .*127\.0\.0\.1:9/a\.mat.*--root"):
        fetch("svhn", tmp_path)
    with pytest.raises(ReplibError, match=r"cannot be fetched.*numpy\.savez"):
        fetch("cifar100_subset", tmp_path)
    assert "nothing to fetch" in fetch("digits", tmp_path)


def test_fetch_unpacks_checks_and_keeps_damaged_files(monkeypatch, tmp_path):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a/b", "good")
    md5 = hashlib.md5((tmp_path / "a.zip").read_bytes()).hexdigest()
    address = f"http://127.0.0.1:{server.server_port}/a.zip"
    good = hashlib.md5(b"good").hexdigest()
    monkeypatch.setitem(SOURCES, "svhn", Source("us", (Archive(address, 1, md5),), (("a/b", good),)))
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "b").write_text("bad")
    assert examine("svhn", root)[0] == "damaged"
    try:
        assert fetch("svhn", root).startswith("svhn: fetched")
    finally:
        server.shutdown()
        server.server_close()
    assert (root / "a" / "b").read_text() == "good"
    assert (root / "a" / "b.damaged").read_text() == "bad"


def test_the_tail_is_for_validation():
    train, val = _tail(50000, 5000)
    assert (train[0], train[-1], val[0], val[-1]) == (0, 44999, 45000, 49999)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_files_become_the_splits_of_the_table(name):
    if "REPLIB_DATA" not in os.environ:
        pytest.skip("REPLIB_DATA names no folder of real data sets")
    state, detail = examine(name)
    if state != "present":
        pytest.skip(f"{name} is {state}: {detail}")
    require(name)
    split, entry = load(Data(name)), ROLES[name]
    assert [len(getattr(split, p)) for p in PARTS] == [entry.n_train, entry.n_val, entry.n_test]
    assert split.train.x.shape[1:] == entry.shape
    for part in PARTS:
        counts = torch.bincount(getattr(split, part).y, minlength=entry.classes)
        assert len(counts) == entry.classes
        if name.endswith("_subset"):
            assert counts.min() == counts.max()
    if name != "mnist":  # nets for MNIST see pixels in [0, 1] as they are
        mean = split.train.x[:5000].double().mean((0, 2, 3)) / 255
        assert (mean - torch.tensor(entry.mean)).abs().max() < 0.02
    small = load(Data(name, n_train=5 * entry.classes)).train
    assert torch.bincount(small.y).tolist() == [5] * entry.classes
