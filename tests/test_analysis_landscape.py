"""Loss surfaces: identities that a wrong construction breaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from replib.analysis import landscape
from replib.analysis.landscape import (
    Landscape,
    attacked,
    axis,
    basin_area,
    cosine,
    filter_normalised,
    mean_loss,
    moved,
    pixel_surface,
    random_direction,
    run_landscape,
    sharpness,
    weight_surface,
)  # fmt: skip
from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.attacks.losses import cross_entropy
from replib.experiments.profiles import SMOKE
from replib.spec import SpecError, task
from replib.store.context import Context


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 25, 3))
    made(torch.rand(20, 1, 5, 5))  # running statistics that are not the initial ones
    with torch.no_grad():
        made[0].weight[1] = 0  # one filter pruned whole, others in part
        made[4].weight.mul_(torch.rand(made[4].weight.shape) < 0.5)
    return made.eval()


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(1)
    return torch.rand(12, 1, 5, 5, generator=g), torch.randint(0, 3, (12,), generator=g)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def seen(net):
    """Every batch of images that the network is given, in order."""
    batches = []
    net.register_forward_pre_hook(lambda _, args: batches.append(args[0].detach().clone()))
    return batches


def gradient_signs(net, x, y):
    """Sign of the gradient of each image's own loss."""
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(net(x), y).sum(), x)[0].sign()


def test_axis_is_symmetric_and_holds_zero():
    a = axis(21, 0.3)
    assert a[10] == 0.0
    assert (a == -a[::-1]).all()
    assert a[-1] == pytest.approx(0.3)
    with pytest.raises(SpecError, match="odd"):
        axis(20)


def test_centre_of_both_surfaces_is_the_plain_evaluation(net, images):
    x, y = images
    plain = evaluate(net, x, y).loss
    d, e = random_direction(net, rng(0)), random_direction(net, rng(1))
    weights = weight_surface(net, lambda n: mean_loss(n, x, y), d, e, axis(3))
    pixels = pixel_surface(net, x, y, rng(2), axis(3, 0.1))
    assert weights[1, 1] == pytest.approx(plain, abs=1e-9)
    assert pixels[1, 1] == pytest.approx(plain, abs=1e-9)
    assert np.ptp(weights) > 1e-3
    assert np.ptp(pixels) > 1e-3


def test_attacked_loss_is_that_of_the_evaluation_with_the_same_seed(net, images):
    x, y = images
    attack = PGD(eps=0.1, steps=3)
    assert mean_loss(net, x, y, attack, seed=5) == pytest.approx(evaluate(net, x, y, attack, seed=5).loss, abs=1e-9)


def test_each_filter_of_a_direction_has_the_norm_of_its_weights(net):
    d = random_direction(net, rng())
    assert set(d) == {"0.weight", "4.weight"}  # biases and batch normalisation do not move
    for name, w in net.named_parameters():
        if name in d:
            torch.testing.assert_close(d[name].flatten(1).norm(dim=1), w.detach().flatten(1).norm(dim=1), rtol=1e-5, atol=1e-6)


def test_masked_directions_live_on_the_kept_weights_and_dense_ones_do_not(net):
    masked, dense = random_direction(net, rng()), random_direction(net, rng(), masked=False)
    pruned = net[4].weight == 0
    assert (masked["4.weight"][pruned] == 0).all()
    assert (masked["4.weight"][~pruned] != 0).all()
    assert (dense["4.weight"][pruned] != 0).all()
    assert (masked["0.weight"][1] == 0).all()
    assert masked["0.weight"].isfinite().all()


def test_networks_of_one_shape_get_the_same_noise_whatever_their_masks(net):
    before = random_direction(net, rng())["0.weight"]
    with torch.no_grad():
        net[4].weight[0] = 0
    assert torch.equal(random_direction(net, rng())["0.weight"], before)


def test_weights_come_back_bit_for_bit_also_after_an_error(net):
    before = {n: w.clone() for n, w in net.state_dict().items()}
    d = random_direction(net, rng())

    def broken(n):
        assert not torch.equal(n[4].weight, before["4.weight"])
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), moved(net, (0.3, d), (-1e4, d)):
        broken(net)
    assert all(torch.equal(w, before[n]) for n, w in net.state_dict().items())


def test_rise_over_a_quadratic_is_half_rho_squared_times_its_curvature():
    net = nn.Linear(6, 1, bias=False)
    nn.init.zeros_(net.weight)
    half = torch.randn(6, 6, generator=rng(3), dtype=torch.float64)
    h = (half @ half.T).float()
    directions = [{"weight": torch.randn(1, 6, generator=rng(k))} for k in range(4)]
    rises = sharpness(net, lambda n: 0.5 * (n.weight @ h @ n.weight.T).item(), directions, (0.1, 0.5))
    curvature = [(d["weight"] @ h @ d["weight"].T).item() for d in directions]
    np.testing.assert_allclose(rises, [[0.5 * r**2 * c for c in curvature] for r in (0.1, 0.5)], rtol=1e-5)


def test_recomputed_attacks_equal_fixed_ones_at_the_centre_and_everywhere_without_radius(net, images):
    x, y = images
    d, e = random_direction(net, rng(0)), random_direction(net, rng(1))
    for eps in (0.0, 0.1):
        attack = PGD(eps=eps, steps=3)
        fixed_images = attacked(net, x, y, attack, seed=4)
        fixed = weight_surface(net, lambda n, z=fixed_images: mean_loss(n, z, y), d, e, axis(3))
        again = weight_surface(net, lambda n, a=attack: mean_loss(n, x, y, a, 4), d, e, axis(3))
        assert fixed[1, 1] == again[1, 1]
        if eps == 0:
            np.testing.assert_array_equal(fixed, again)
        else:
            assert (again > fixed + 1e-4).any()  # attacks made elsewhere are weaker: the two surfaces are not one


def test_the_loss_climbs_along_the_sign_of_its_gradient(net, images):
    x, y = images
    surface = pixel_surface(net, x, y, rng(), axis(3, 1e-3))
    assert surface[2, 1] > surface[1, 1] > surface[0, 1]


@pytest.mark.parametrize("clip", [False, True])
def test_the_network_sees_signs_along_both_axes_of_a_pixel_surface(net, images, seen, clip):
    x, y = images
    u = gradient_signs(net, x, y)
    surface = pixel_surface(net, x, y, rng(), axis(3, 0.2), clip=clip)
    grid = seen[-9:]  # row by row
    middle = (x - 0.5).abs() < 0.3  # what clipping does not touch
    v = ((grid[5] - grid[4]) / 0.2)[middle]
    torch.testing.assert_close(v.abs(), torch.ones_like(v))
    assert abs(v.mean()) < 0.3  # as many of one sign as of the other
    assert torch.equal(grid[4], x)
    whole = x + 0.2 * u
    torch.testing.assert_close(grid[7], whole.clamp(0, 1) if clip else whole)
    assert (max(g.max() for g in grid) > 1.1) != clip
    assert (min(g.min() for g in grid) < -0.1) != clip
    assert surface[2, 1] == pytest.approx(mean_loss(net, grid[7], y), rel=1e-6)


def test_the_radius_of_a_pixel_surface_counts_in_multiples_of_the_attacks(net, images, seen, store, monkeypatch):
    x, y = images
    u = gradient_signs(net, x, y)
    monkeypatch.setattr(landscape, "centre", lambda *_: (net, x, y, 0))
    job = Landscape(SMOKE.recipe("CIFAR-10", "ResNet-18").pgd_at(), PGD(0.05, steps=1), "pixels", points=3, radius=2.0)
    run_landscape(job, Context(store, task(job, 0)))
    torch.testing.assert_close(seen[-2] - seen[-5], 0.1 * u)


def test_basin_area_of_a_cone():
    c = axis(101)
    cone = 2 * np.hypot(c[:, None], c[None])  # at most 1 on a disc of radius 1/2 within a square of side 2
    assert basin_area(cone + 7) == pytest.approx(np.pi / 16, abs=0.01)


def test_independent_directions_are_nearly_orthogonal_and_one_is_parallel_to_itself(net):
    d = random_direction(net, rng(0))
    assert cosine(d, d) == pytest.approx(1, abs=1e-6)
    assert abs(cosine(d, random_direction(net, rng(1)))) < 0.35


def test_filter_normalisation_keeps_a_zero_filter_at_zero():
    out = filter_normalised(torch.ones(2, 3), torch.tensor([[0.0, 0, 0], [3, 4, 0]]))
    assert (out[0] == 0).all()
    assert out[1].norm().item() == pytest.approx(5, rel=1e-5)
