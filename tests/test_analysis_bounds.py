"""The norm-product bound of B's Theorem 2: holds on random networks, is tight where it must be, fails for norms that are not induced."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from replib.analysis.bounds import NormBound, _in_ball, dual, induced, measured, pair_bounds
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import Magnitude, Ticket
from replib.models import Net
from replib.spec import SpecError, task
from replib.store import Store
from replib.training import FromRun


def random_mlp(seed, widths=(12, 9, 7, 4)):
    torch.manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(widths):
        linear = nn.Linear(a, b)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(b, a) * torch.rand(b, 1) * (torch.rand(b, a) < 0.7))
            linear.bias.copy_(torch.randn(b))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1]).eval()


def weights_of(net):
    return [m.weight for m in net.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_bound_holds_on_two_hundred_random_networks(norm):
    for seed in range(200):
        net = random_mlp(seed)
        x = torch.randn(6, 1, 3, 4)
        predicted, constants = measured(net, x, 0.5, norm, 20, torch.Generator().manual_seed(seed))
        assert (constants <= pair_bounds(weights_of(net), norm)[predicted] * (1 + 1e-6)).all()


def test_the_largest_entry_is_no_bound():
    """Read literally, the norm of a matrix for p = infinity is its largest entry; then the theorem is false."""
    violated = 0
    for seed in range(200):
        net = random_mlp(seed)
        weights = weights_of(net)
        predicted, constants = measured(net, torch.randn(6, 1, 3, 4), 0.5, "linf", 10, torch.Generator().manual_seed(seed))
        last = weights[-1].detach().double()
        wrong = dual((last[:, None] - last[None]).reshape(16, -1), "linf").view(4, 4)
        wrong = wrong * math.prod(float(w.detach().abs().max()) for w in weights[:-1])
        violated += bool((constants > wrong[predicted] * (1 + 1e-6)).any())
    assert violated > 20


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_single_layer_meets_the_bound(norm):
    net = random_mlp(3, widths=(12, 4))
    x = torch.randn(5, 1, 3, 4)
    predicted, constants = measured(net, x, 0.5, norm, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(constants, pair_bounds(weights_of(net), norm)[predicted], atol=1e-5, rtol=1e-5)


def bent(kinks):
    """Two classes and images of one pixel z: g_1 - g_0 is 100 + z plus c relu(±z - t) for every (c, sign, t) of `kinks`."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, len(kinks) + 2), nn.ReLU(), nn.Linear(len(kinks) + 2, 2)).requires_grad_(False)
    net[1].weight.copy_(torch.tensor([[1.0], [-1.0], *([float(sign)] for _, sign, _ in kinks)]))
    net[1].bias.copy_(torch.tensor([0.0, 0.0, *(-t for _, _, t in kinks)]))
    net[3].weight.copy_(torch.tensor([[0.0] * (len(kinks) + 2), [1.0, -1.0, *(c for c, _, _ in kinks)]]))
    net[3].bias.copy_(torch.tensor([0.0, 100.0]))
    return net.eval()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_search_finds_a_steep_piece_inside_the_ball(norm):
    """Steep between a fifth and four fifths of the radius on either side, and as flat on the surface as in the centre."""
    net = bent([(4.0, 1, 0.2), (-4.0, 1, 0.8), (-4.0, -1, 0.2), (4.0, -1, 0.8)])
    x = torch.full((3, 1, 1, 1), 0.01)
    _, at_centre = measured(net, x, 1.0, norm, 1, torch.Generator().manual_seed(0))
    predicted, constants = measured(net, x, 1.0, norm, 40, torch.Generator().manual_seed(0))
    assert (predicted == 1).all()
    assert at_centre.tolist() == [[1, 0]] * 3
    assert constants.tolist() == [[5, 0]] * 3


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_search_goes_to_the_surface_towards_the_other_class(norm):
    """Steep only in the last ten-thousandth of the radius on the side of class 0, which two points meet by no chance."""
    net = bent([(-4.0, -1, 0.9999)])
    _, constants = measured(net, torch.zeros(3, 1, 1, 1) - 1e-6, 1.0, norm, 2, torch.Generator().manual_seed(0))
    assert constants.tolist() == [[5, 0]] * 3


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", math.inf)])
def test_points_are_drawn_evenly_from_the_ball(norm, order):
    """A ball of radius r has the share r^n of the unit ball: the mean length is n / (n + 1), and its median the n-th root of a half."""
    for n in (1, 3, 12):
        points = _in_ball(torch.zeros(20_000, 1, 1, n), norm, torch.Generator().manual_seed(n)).flatten(1)
        lengths = torch.linalg.vector_norm(points, order, dim=1)
        assert lengths.max() <= 1 + 1e-6
        assert lengths.mean().item() == pytest.approx(n / (n + 1), abs=0.01)
        assert lengths.median().item() == pytest.approx(0.5 ** (1 / n), abs=0.01)
        assert points.mean(0).abs().max() < 0.02  # no side is preferred


def test_induced_norms_by_hand():
    w = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    assert induced(w, "linf") == 7
    assert induced(w, "l2") == pytest.approx(math.sqrt((26 + math.sqrt(26**2 - 4 * 9)) / 2))  # the larger root of the Gram matrix
    assert dual(torch.tensor([[3.0, -4.0]]), "l2") == 5
    assert dual(torch.tensor([[3.0, -4.0]]), "linf") == 7


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_induced_norms_are_attained_and_never_exceeded(norm):
    order = 2 if norm == "l2" else math.inf
    w = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.randn(8, 20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ratios = torch.linalg.vector_norm(w @ x, order, dim=0) / torch.linalg.vector_norm(x, order, dim=0)
    assert ratios.max() <= induced(w, norm) * (1 + 1e-9)
    best = torch.linalg.svd(w).Vh[0] if norm == "l2" else w[w.abs().sum(1).argmax()].sign()
    assert torch.linalg.vector_norm(w @ best, order) / torch.linalg.vector_norm(best, order) == pytest.approx(induced(w, norm))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_certified_radius_exceeds_an_attacked_one(tmp_path, norm):
    store, recipe = Store(tmp_path), SMOKE.recipe("CIFAR-10", "ResNet-18")
    run = recipe.pgd_at(net=Net("mlp_small", width=8), epochs=2)
    job = NormBound(run, norm, images=20, samples=6, steps=10)
    execute(task(run, 0), store)
    execute(task(job, 0), store)
    found = store.results(task(job, 0))
    assert found["violations"] == 0
    assert found["certified_above_attacked"] == 0
    assert found["log10_measured"] <= found["log10_bound"]
    assert len(found["factors"]) == 2


def test_a_network_of_which_nothing_is_left_has_no_logarithms(tmp_path):
    store, recipe = Store(tmp_path), replace(SMOKE.recipe("CIFAR-10", "ResNet-18"), net=Net("mlp_small", width=8))
    dense = recipe.pgd_at(epochs=1)
    drawn = Ticket(recipe.data, recipe.net, 0.002, Magnitude(dense))  # a few weights, in one layer or two of three
    run = replace(dense, ticket=drawn, init=FromRun(dense))
    job = NormBound(run, "linf", images=10, samples=2, steps=2)
    for t in (dense, drawn, run, job):
        execute(task(t, 0), store)
    found = store.results(task(job, 0))
    assert 0 in found["factors"]
    assert found["log10_norm_product"] is None
    assert found["violations"] == 0


def test_only_perceptrons_are_accepted():
    with pytest.raises(SpecError, match="multi-layer perceptrons"):
        NormBound(SMOKE.recipe("CIFAR-10", "ResNet-18").pgd_at())


def test_points_of_the_surface_are_spent_on_other_classes_only():
    """Three classes, the first predicted, and steep pieces just inside the surface towards each of the two others: two points on it meet
    both, whichever class is predicted."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)).requires_grad_(False)
    edge = 0.9999 * 2**-0.5
    net[1].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]))
    net[1].bias.copy_(torch.tensor([10.0, 10.0, -2 * edge, -2 * edge]))
    for predicted in range(3):
        a, b = (k for k in range(3) if k != predicted)
        last = torch.zeros(3, 4)
        last[a, 0] = last[b, 1] = 1.0
        last[a, 2] = last[b, 3] = 5.0
        net[3].weight.copy_(last)
        net[3].bias.copy_(torch.nn.functional.one_hot(torch.tensor(predicted), 3).float() * 100)
        found, constants = measured(net.eval(), torch.zeros(1, 1, 1, 2), 1.0, "l2", 4, torch.Generator().manual_seed(0))
        assert found.tolist() == [predicted]
        assert constants[0, [a, b]].tolist() == pytest.approx([6 * 2**0.5] * 2, rel=1e-5)
