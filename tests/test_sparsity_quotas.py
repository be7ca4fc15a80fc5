"""Layer-wise quotas against values computed independently, and against the properties that define each rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from replib.models import Net, weight_shapes
from replib.sparsity import quotas as q
from replib.spec import ReplibError, SpecError

RESNET = weight_shapes(Net("preact_resnet18"), 10, (3, 32, 32))
VGG = weight_shapes(Net("vgg16_bn"), 10, (3, 32, 32))

# Densities by number of weights, PreAct-ResNet-18 with 10 classes.
IGQ = {
    0.2: {1728: 0.9936, 36864: 0.8787, 73728: 0.7836, 147456: 0.6442, 8192: 0.9702, 294912: 0.4752, 589824: 0.3116,
          32768: 0.8907, 1179648: 0.1846, 2359296: 0.1017, 131072: 0.6707, 5120: 0.9812},
    0.1: {1728: 0.9826, 36864: 0.7260, 73728: 0.5699, 147456: 0.3985, 8192: 0.9226, 294912: 0.2488, 589824: 0.1421,
          32768: 0.7488, 1179648: 0.0765, 2359296: 0.0398, 131072: 0.4270, 5120: 0.9502},
}  # fmt: skip
ERK = {
    0.2: {1728: 1, 36864: 1, 73728: 0.7538, 147456: 0.4988, 8192: 1, 294912: 0.3712, 589824: 0.2465,
          32768: 1, 1179648: 0.1842, 2359296: 0.1225, 131072: 1, 5120: 1},
    0.1: {1728: 1, 36864: 0.4797, 73728: 0.3544, 147456: 0.2345, 8192: 1, 294912: 0.1745, 589824: 0.1159,
          32768: 1, 1179648: 0.0866, 2359296: 0.0576, 131072: 0.7752, 5120: 1},
}  # fmt: skip


@pytest.mark.parametrize("density", [0.2, 0.1])
@pytest.mark.parametrize(("rule", "golden"), [(q.igq, IGQ), (q.erk, ERK)])
def test_golden_densities(rule, golden, density):
    found = rule(RESNET, density)
    for d, n in zip(found, q.sizes(RESNET), strict=True):
        assert d == pytest.approx(golden[density][int(n)], abs=5.1e-5)


def test_the_net_has_21_prunable_tensors():
    assert len(RESNET) == 21
    assert q.sizes(RESNET).sum() == 11_164_352


@pytest.mark.parametrize(("density", "force"), [(0.2, 3.745466e-6), (0.1, 1.023644e-5), (0.05, 2.526785e-5)])
def test_golden_forces(density, force):
    n = q.sizes(RESNET)
    assert q.igq_force(n, density) == pytest.approx(force, rel=2e-7)


def test_golden_vgg():
    assert q.igq_force(q.sizes(VGG), 0.2) == pytest.approx(2.409785e-6, rel=3e-7)
    golden = [0.9959, 0.9184, 0.8491, 0.7378, 0.5846, 0.4130, 0.4130, 0.2602, *[0.1496] * 5, 0.9878]
    assert q.igq(VGG, 0.2) == pytest.approx(golden, abs=5.1e-5)


@pytest.mark.parametrize(("density", "eps"), [(0.2, 280.703), (0.1, 131.962), (0.05, 64.0238)])
def test_golden_erk_factor(density, eps):
    last = list(RESNET).index("stages.3.1.conv2.weight")  # never saturates here
    ratio = sum(RESNET["stages.3.1.conv2.weight"]) / math.prod(RESNET["stages.3.1.conv2.weight"])
    assert q.erk(RESNET, density)[last] / ratio == pytest.approx(eps, rel=2e-6)


def test_erk_saturates_the_small_layers_at_80_percent():
    dense = {name for name, d in zip(RESNET, q.erk(RESNET, 0.2), strict=True) if d == 1}
    stage1 = {f"stages.0.{b}.conv{c}.weight" for b in (0, 1) for c in (1, 2)}
    assert dense == {"stem.weight", "fc.weight"} | stage1 | {f"stages.{s}.0.shortcut.weight" for s in (1, 2, 3)}


@pytest.mark.parametrize("density", [0.2, 0.1, 0.05, 0.001])
def test_bisection_solves_the_fixed_point_equation(density):
    n = q.sizes(RESNET)
    force = len(n) / (density * n.sum())
    for _ in range(200):
        force = (force * n / (1 + force * n)).sum() / (density * n.sum())
    assert q.igq_force(n, density) == pytest.approx(force, rel=1e-9)


def test_igq_properties():
    shapes = {"a": (4, 3), "b": (30, 20), "c": (20, 30), "d": (100, 90)}
    d = q.igq(shapes, 0.3)
    assert ((d > 0) & (d < 1)).all()
    assert d[1] == d[2]
    assert d[0] > d[1] > d[3]
    few = q.igq(shapes, 1e-6) * q.sizes(shapes)  # strong compression leaves equal counts
    assert few == pytest.approx([few[0]] * 4, rel=1e-3)
    assert (q.igq(shapes, 1.0) == 1).all()
    assert q.igq({"a": (5, 8), "b": (8, 5)}, 0.25) == pytest.approx([0.25, 0.25], abs=1e-12)


@pytest.mark.parametrize("rule", q.RULES)
@pytest.mark.parametrize("shapes", [RESNET, VGG, {"a": (3, 3), "b": (7, 5, 3, 3), "c": (10, 7)}])
@pytest.mark.parametrize("density", [1.0, 0.999, 0.7, 0.2, 0.0137])
def test_every_rule_spends_the_budget_exactly_and_within_layers(rule, shapes, density):
    n = q.sizes(shapes)
    if rule == "uniform_dense_first" and n[0] > density * n.sum():
        with pytest.raises(ReplibError, match="first layer alone"):
            q.quotas(rule, shapes, density)
        return
    assert (q.RULES[rule](shapes, density) * n).sum() == pytest.approx(density * n.sum(), abs=1e-3)
    kept = q.quotas(rule, shapes, density)
    assert list(kept) == list(shapes)
    assert sum(kept.values()) == round(density * n.sum())
    assert all(0 <= k <= math.prod(shapes[name]) for name, k in kept.items())


def test_er_uses_channels_and_erk_all_dimensions():
    shapes = {"a": (64, 64, 3, 3), "b": (64, 256, 3, 3), "c": (128, 128, 1, 1)}
    er, erk = q.er(shapes, 0.01), q.erk(shapes, 0.01)
    assert er[1] / er[0] == pytest.approx((320 / (64 * 256)) / (128 / 64**2))
    assert erk[1] / erk[0] == pytest.approx((326 / 9 / (64 * 256)) / (134 / 9 / 64**2))


def test_first_layer_dense():
    d = q.uniform_dense_first({"a": (10, 1), "b": (10, 9), "c": (10, 10)}, 0.2)
    assert d == pytest.approx([1, 30 / 190, 30 / 190])


def test_largest_remainder_by_hand():
    assert q.largest_remainder([1.5, 2.25, 0.25], 4).tolist() == [2, 2, 0]
    assert q.largest_remainder([1.5, 2.5, 0.0], 4).tolist() == [2, 2, 0]  # a tie goes to the earlier layer
    assert q.largest_remainder([35.99999999999999, 4.0], 40).tolist() == [36, 4]
    assert q.largest_remainder(np.array([0.4, 0.4, 0.2]), 1).dtype == np.int64
    with pytest.raises(ValueError, match="cannot be rounded"):
        q.largest_remainder([1.5, 2.0], 5)


def test_bad_choices_say_what_is_allowed():
    with pytest.raises(SpecError, match="igq"):
        q.quotas("igc", RESNET, 0.2)
    with pytest.raises(SpecError, match="density"):
        q.quotas("igq", RESNET, 0.0)
