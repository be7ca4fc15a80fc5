"""Augmentation: each rule does what torchvision's does, with the right frequencies, from the given generator only."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from replib.data import Augmentation, role
from replib.data.augment import augment, crop, flip, rotate, turn

torch.set_num_threads(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, c: int = 3, h: int = 8, w: int = 6) -> torch.Tensor:
    return torch.randint(1, 256, (n, c, h, w), dtype=torch.uint8, generator=generator(99))


@pytest.mark.parametrize("pad", [1, 2])
def test_crop_gives_every_shift_equally_often_and_nothing_else(pad):
    from torchvision.transforms import functional as tv

    n = 200 * (2 * pad + 1) ** 2
    x = pictures(1)
    padded = tv.pad(x[0], [pad] * 4)
    shifts = [tv.crop(padded, i, j, 8, 6) for i in range(2 * pad + 1) for j in range(2 * pad + 1)]
    out = crop(x.expand(n, -1, -1, -1), pad, generator())
    hits = torch.stack([(out == s).flatten(1).all(1) for s in shifts], 1)
    assert (hits.sum(1) == 1).all()
    counts = hits.sum(0)
    chi2 = ((counts - 200) ** 2 / 200).sum()
    assert chi2 < len(shifts) - 1 + 4 * math.sqrt(2 * len(shifts))  # four standard deviations


def test_crop_moves_all_channels_together_and_pictures_apart():
    x = pictures(1, c=1).expand(300, 2, -1, -1)
    out = crop(x, 2, generator())
    assert torch.equal(out[:, 0], out[:, 1])
    assert len({o.numpy().tobytes() for o in out}) == 25


def test_crop_of_floats_equals_crop_of_bytes():
    x = pictures(50)
    torch.testing.assert_close(crop(x, 2, generator()).float(), crop(x.float(), 2, generator()), rtol=0, atol=0)


def test_flip_mirrors_whole_pictures_half_of_the_time():
    x = pictures(4000, c=2)
    out = flip(x, generator())
    mirrored = (out == x.flip(3)).flatten(1).all(1)
    kept = (out == x).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert abs(mirrored.float().mean() - 0.5) < 4 * 0.5 / math.sqrt(4000)


def test_rotation_by_zero_is_the_identity():
    x = pictures(5).float() / 255
    torch.testing.assert_close(turn(x, torch.zeros(5)), x, rtol=0, atol=0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotation_by_quarters_is_rot90(quarters):
    x = pictures(5, h=7, w=7).float()
    out = turn(x, torch.full((5,), quarters * math.pi / 2))
    torch.testing.assert_close(out, torch.rot90(x, quarters, (2, 3)), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(16, 16), (8, 16)])
def test_rotation_agrees_with_torchvision(shape):
    from torchvision.transforms import functional as tv

    x = pictures(1, h=shape[0], w=shape[1]).float()
    for degrees in (-14.3, -5.2, 3.7, 11.9):
        ours = turn(x, torch.tensor([math.radians(degrees)]))
        theirs = tv.rotate(x, degrees)
        assert (ours != theirs).float().mean() < 0.02  # a pixel centre may fall on an edge


def test_rotation_angles_stay_within_their_bounds():
    # one bright pixel at distance r moves along an arc whose length gives the angle
    x = torch.zeros(500, 1, 41, 41)
    x[:, 0, 20, 38] = 1
    out = rotate(x, 15, generator())
    down = out.amax(3).flatten(1).argmax(1)[out.flatten(1).amax(1) > 0] - 20
    reach = 18 * math.sin(math.radians(15))
    assert down.abs().max() <= reach + 1
    assert down.min() < -reach + 1.5
    assert down.max() > reach - 1.5


def test_augment_depends_on_the_generator_only():
    x, rules = pictures(64), Augmentation(pad=2, flip=True, rotation=15)
    torch.manual_seed(1)
    a = augment(x, rules, generator(5))
    torch.manual_seed(2)
    torch.testing.assert_close(a, augment(x, rules, generator(5)), rtol=0, atol=0)
    assert not torch.equal(a, augment(x, rules, generator(6)))


def test_augment_gives_floats_in_the_unit_interval_and_leaves_its_input_alone():
    x = pictures(64)
    before = x.clone()
    out = augment(x, Augmentation(pad=1, flip=True, rotation=15), generator())
    assert out.dtype == torch.float32
    assert out.shape == x.shape
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(x, before)
    y = x.float() / 255
    assert torch.equal(augment(y, Augmentation(), generator()), augment(x, Augmentation(), generator()))


def test_no_rules_draw_nothing():
    g = generator()
    augment(pictures(3), role("mnist14"), g)
    assert torch.equal(g.get_state(), generator().get_state())


def test_roles_have_the_augmentation_of_the_papers():
    assert role("cifar10").augmentation == Augmentation(pad=4, flip=True)
    assert role("cifar100").augmentation == Augmentation(pad=4, flip=True, rotation=15)
    assert role("mnist").augmentation.words() == "none"
    assert role("cifar100").augmentation.words() == "crop (pad 4), flip, rotation ±15°"
    assert not any(r.augmentation.flip for r in map(role, ("digits", "digit_pairs", "scenes", "mnist_fine")))


def test_a_role_and_its_rules_do_the_same():
    x = pictures(20, c=1)
    assert torch.equal(augment(x, role("digits"), generator()), augment(x, role("digits").augmentation, generator()))
    assert torch.equal(augment(x, role("digits"), generator()), crop(x, 1, generator()).float() / 255)


def test_the_border_of_a_crop_is_black():
    x = torch.full((100, 1, 8, 8), 255, dtype=torch.uint8)
    out = crop(x, 1, generator())
    assert set(out.unique().tolist()) == {0, 255}
    assert torch.equal(out[:, :, 1:-1, 1:-1], F.pad(x, (-1,) * 4))
