"""Curvature against closed forms: quadratics, linear models, cones."""

import math

import pytest
import torch
from torch import nn

from replib.analysis.curvature import Curvature, basin_width, input_gradient, largest_eigenvalue
from replib.attacks import PGD
from replib.data import Data
from replib.models import Net
from replib.spec import SpecError
from replib.training import PGDAT, Train


def g():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("spectrum", [(5.0, 2.0, 1.0, 0.5), (-7.0, 3.0, 2.0, 1.0)])
def test_the_eigenvalue_of_a_quadratic_is_exact(spectrum):
    basis, _ = torch.linalg.qr(torch.randn(4, 4, generator=g()))
    hessian = basis @ torch.diag(torch.tensor(spectrum)) @ basis.T
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))

    def loss():
        w = torch.cat([a, b])
        return 0.5 * w @ hessian @ w

    assert largest_eigenvalue(loss, [a, b], g(), iterations=200, tolerance=1e-7) == pytest.approx(spectrum[0], rel=1e-4)


def test_pruned_weights_have_no_part_in_the_hessian():
    w = torch.tensor([1.0, 0.0, 1.0], requires_grad=True)
    bends = torch.tensor([1.0, 100.0, 3.0])
    assert largest_eigenvalue(lambda: 0.5 * (bends * w * w).sum(), [w], g(), tolerance=1e-6) == pytest.approx(3, rel=1e-3)


def test_a_loss_without_curvature_has_the_eigenvalue_zero():
    w = torch.ones(3, requires_grad=True)
    assert largest_eigenvalue(lambda: (w * w.detach()).sum() + 0 * (w * w).sum(), [w], g()) == 0


def test_the_gradient_of_a_linear_model_by_its_images():
    """Two classes, logits (w.x, 0): the gradient is (softmax - label) times w, and its sum of magnitudes that times |w|."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -2.0, 3.0, 0.0], [0.0] * 4]))
        net[1].bias.zero_()
    x = torch.rand(5, 1, 2, 2, generator=g())
    wrong = torch.sigmoid(-(x.flatten(1) @ net[1].weight[0]))
    assert input_gradient(net, x, torch.zeros(5, dtype=torch.long)) == pytest.approx(float((wrong * 6).mean().detach()), rel=1e-5)
    assert all(p.requires_grad for p in net.parameters())


def test_the_width_of_a_parabola_and_of_a_plane():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    step = {"weight": torch.ones(1, 1)}

    def width(height):
        return basin_width(net, lambda n: height(float(n.weight.detach())), step)

    assert width(lambda w: 4 * w * w) == pytest.approx(0.5, abs=0.01)  # interpolated between 0 and 0.1, 0.2, ...
    assert width(lambda w: 2 * abs(w)) == pytest.approx(0.5)
    assert width(lambda w: 10 * w) == 2.0  # what one side loses the other gains: it never rises, and the last radius is given
    assert width(lambda w: 0.0 if abs(w) < 0.35 else 10.0) == pytest.approx(0.31)
    assert math.isclose(float(net.weight.detach()), 0.0)


def test_impossible_settings_are_refused():
    run = Train(Data("digits"), Net("preact_resnet_small"), PGDAT(PGD(0.1)), epochs=1, batch=10, validate=PGD(0.1))
    for name in ("directions", "images", "iterations"):
        with pytest.raises(SpecError, match=f"Curvature.{name}"):
            Curvature(run, PGD(0.1), **{name: 0})
