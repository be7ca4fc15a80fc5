"""Costs against the printed ones of Sparsity Winning Twice and against arithmetic done by hand."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from replib.models import Net, weight_shapes
from replib.models.build import build
from replib.sparsity import flops
from replib.sparsity.quotas import quotas
from replib.spec import ReplibError

torch.set_num_threads(1)


@cache
def sizes_of(arch: str, classes: int, side: int, scale: float = 1.0) -> dict[str, flops.LayerSize]:
    net, shape = Net(arch, scale=scale), (3, side, side)
    constants = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    model = build(net, classes=classes, shape=shape, generator=torch.Generator().manual_seed(0), **constants)
    return flops.layer_sizes(model, shape)


@pytest.mark.parametrize(
    ("arch", "classes", "side", "scale", "density", "images", "epochs", "inference", "training"),
    [
        ("preact_resnet18", 10, 32, 1.0, None, 45_000, 200, 260.07, 772.41),
        ("preact_resnet18", 200, 64, 1.0, None, 90_000, 200, 1040.29, 6179.30),
        ("vgg16_bn", 10, 32, 1.0, None, 45_000, 200, 193.50, 574.69),
        ("preact_resnet18", 10, 32, 1.0, 0.2, 45_000, 200, 80.60, 239.39),
        ("preact_resnet18", 10, 32, 1.0, 0.1, 45_000, 200, 47.51, 141.10),
        ("preact_resnet18", 100, 32, 1.0, 0.2, 45_000, 200, 79.84, 237.12),
        ("preact_resnet18", 200, 64, 1.0, 0.2, 90_000, 200, 317.17, 1884.01),
        ("vgg16_bn", 10, 32, 1.0, 0.2, 45_000, 200, 58.44, 173.56),
        ("preact_resnet18", 10, 32, 0.448, None, 45_000, 200, 23.41, 69.54),
        ("preact_resnet18", 10, 32, 0.316, None, 45_000, 200, 8.19, 24.31),
    ],
)
def test_the_papers_accounting_reproduces_its_tables(arch, classes, side, scale, density, images, epochs, inference, training):
    sizes = sizes_of(arch, classes, side, scale)
    nnz = None if density is None else quotas("igq", weight_shapes(Net(arch), classes, (3, side, side)), density)
    # One unit of the last printed digit, or the relative 2e-5 to which the paper rounded intermediate results.
    one = flops.inference_flops(sizes, nnz, "paper") / 1e9
    assert one == pytest.approx(inference, abs=0.0101, rel=2e-5)
    total = flops.training_flops(sizes, nnz, images=images, epochs=epochs, accounting="paper") / 1e17
    assert total == pytest.approx(training, abs=0.0101, rel=2e-5)


@pytest.mark.parametrize(
    ("arch", "classes", "side", "true"),
    [
        ("preact_resnet18", 10, 32, 1.1108e9),
        ("preact_resnet18", 200, 64, 4.4435e9),
        ("vgg16_bn", 10, 32, 0.6264e9),
    ],
)
def test_exact_dense_costs(arch, classes, side, true):
    assert flops.inference_flops(sizes_of(arch, classes, side)) == pytest.approx(true, rel=1e-4)


@pytest.mark.parametrize(("density", "share"), [(0.2, 0.516), (0.1, 0.357), (0.05, 0.226)])
def test_exact_shares_of_ideal_gas_quotas(density, share):
    sizes = sizes_of("preact_resnet18", 10, 32)
    nnz = quotas("igq", weight_shapes(Net(), 10, (3, 32, 32)), density)
    ratio = flops.inference_flops(sizes, nnz) / flops.inference_flops(sizes)
    assert ratio == pytest.approx(share, abs=6e-4)


def counts_with_cost(sizes: dict[str, flops.LayerSize], cost: float) -> dict[str, int]:
    """Equal density in every layer, so that the paper's forward cost is `cost` up to rounding."""
    share = cost / flops.inference_flops(sizes, None, "paper")
    return {name: round(share * layer.weights) for name, layer in sizes.items()}


def test_robust_bird_and_one_shot_magnitude_identities():
    sizes = sizes_of("preact_resnet18", 10, 32)
    kind = {"images": 45_000, "epochs": 200, "accounting": "paper"}
    search = flops.training_flops(sizes, **(kind | {"epochs": 50}), attack_steps=0)  # as many as the paper charges
    bird = search + flops.training_flops(sizes, counts_with_cost(sizes, 64.64e9), **kind)
    assert bird / 1e17 == pytest.approx(209.54, abs=0.02)
    omp = flops.training_flops(sizes, **kind) + flops.training_flops(sizes, counts_with_cost(sizes, 65.39e9), **kind)
    assert omp / 1e17 == pytest.approx(966.63, abs=0.02)


def test_passes_per_image():
    assert [flops.passes_per_image(k, "paper") for k in (10, 1, 0)] == [33, 6, 3]
    assert [flops.passes_per_image(k) for k in (10, 1, 0)] == [23, 5, 3]


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.Flatten(), nn.Linear(36, 5))


def test_sizes_use_output_maps_and_groups_by_hand():
    model = tiny().train()
    sizes = flops.layer_sizes(model, (2, 6, 6))
    assert sizes == {"0.weight": flops.LayerSize(36, 4, 9, True), "2.weight": flops.LayerSize(180, 5, 1, False)}
    assert flops.inference_flops(sizes) == 2 * (36 * 9 + 180)
    assert flops.inference_flops(sizes, accounting="paper") == 2 * 36 * 9 * 4
    assert flops.inference_flops(sizes, {"0.weight": 10}) == 2 * (10 * 9 + 180)
    assert model.training


def test_measuring_leaves_the_model_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flops.layer_sizes(model, (1, 5, 5))
    assert model.training
    assert model[0].training
    assert not model[1].training
    assert not model[0]._forward_hooks
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_costs_are_linear_in_kept_weights():
    sizes = flops.layer_sizes(tiny(), (2, 6, 6))
    a, b = {"0.weight": 5, "2.weight": 30}, {"0.weight": 11, "2.weight": 90}
    both = {name: a[name] + b[name] for name in a}
    for accounting in flops.ACCOUNTINGS:
        parts = flops.inference_flops(sizes, a, accounting) + flops.inference_flops(sizes, b, accounting)
        assert flops.inference_flops(sizes, both, accounting) == parts
    dense = {name: layer.weights for name, layer in sizes.items()}
    assert flops.inference_flops(sizes, dense) == flops.inference_flops(sizes)


def test_changing_masks_are_integrated_over_time_or_charged_at_the_end():
    sizes = flops.layer_sizes(tiny(), (2, 6, 6))
    a, b = {"0.weight": 20, "2.weight": 100}, {"0.weight": 4, "2.weight": 20}
    fa, fb = flops.inference_flops(sizes, a), flops.inference_flops(sizes, b)
    history = [(0, a), (0.25, b)]
    kind = {"images": 100, "epochs": 8, "attack_steps": 2}
    assert flops.training_flops(sizes, history, **kind) == pytest.approx(7 * 800 * (fa / 4 + 3 * fb / 4))
    paper = flops.training_flops(sizes, history, accounting="paper", **kind)
    assert paper == 9 * 800 * flops.inference_flops(sizes, b, "paper")
    dense = flops.inference_flops(sizes)
    grown = flops.training_flops(sizes, a, dense_gradient_images=50, **kind)
    assert grown == pytest.approx(7 * 800 * fa + 50 * (dense - fa))


def test_refuses_what_cannot_be():
    sizes = flops.layer_sizes(tiny(), (2, 6, 6))
    with pytest.raises(ReplibError, match="No layer is called"):
        flops.inference_flops(sizes, {"conv.weight": 3})
    with pytest.raises(ReplibError, match="cannot keep 37"):
        flops.inference_flops(sizes, {"0.weight": 37})
    with pytest.raises(ReplibError, match="start at share 0"):
        flops.mean_inference_flops(sizes, [(0.5, None)])
    with pytest.raises(ReplibError, match="accounting"):
        flops.inference_flops(sizes, accounting="papr")
