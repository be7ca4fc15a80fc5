"""Theorem 2 of D: Lemma 1 with constants that are certain, equal outputs where nothing that matters is pruned, and the terms by hand."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from replib.analysis.dynamics import (
    ATTACK,
    RATE,
    Dynamics,
    Perceptron,
    _at,
    attacked,
    bound,
    compared,
    descend,
    horizon,
    kernel,
    lemma_1,
    lipschitz,
    search,
    slope,
    squared,
    structure,
    summary,
)
from replib.attacks import PGD
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.augment import to_float
from replib.data.load import load
from replib.experiments.jobs import execute
from replib.models.tangent import tangent_kernel
from replib.sparsity.masks import counts
from replib.spec import SpecError, task
from replib.training.state import Masked, generator

NOTHING = PGD(0.0, steps=1, norm="l2", start="zero")
TINY = Dynamics(Data("mnist14"), 8, images=6, steps=5, logged=3)


def some(seed=0, width=12):
    """A perceptron, images whose first row is blank, and one-hot targets."""
    rng = torch.Generator().manual_seed(seed)
    net = Perceptron(16, width, 3, rng).eval()
    x = torch.rand(5, 1, 4, 4, generator=rng)
    x[:, :, 0] = 0
    return net, x, F.one_hot(torch.arange(5) % 3, 3).float()


# ---- Lemma 1 --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(20))
def test_an_attack_changes_outputs_by_no_more_than_lemma_1_allows(seed):
    net, x, y = some(seed, width=40)
    model = structure(TINY, net, x, y, seed)
    assert slope(model, x) <= lipschitz(model) * (1 + 1e-5)
    with torch.no_grad():
        change = (model(attacked(model, x, y, ATTACK)) - model(x)).norm(dim=1).max()
    assert 0 < change <= lemma_1(ATTACK.eps, lipschitz(model))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_lemma_1_with_a_second_derivative(norm):
    """f(x) = a tanh(W x): |f'|_q <= sum_j |a_j| |W_j|_q and |f''| <= m sum_j |a_j| |W_j|_q², m = 4 / (3 sqrt 3) the largest of |tanh''|."""
    q = 2 if norm == "l2" else 1
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        w, a = torch.randn(4, 16, generator=rng), torch.randn(4, generator=rng)
        x = torch.rand(6, 1, 4, 4, generator=rng)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False), nn.Tanh(), nn.Linear(4, 1, bias=False)).requires_grad_(False)
        net[1].weight.copy_(w)
        net[3].weight.copy_(a[None])
        attack = PGD(0.2, steps=8, norm=norm, start="zero")  # steps of a quarter of the radius: 8 of them are twice the radius
        moved = perturb(net.eval(), x, torch.zeros(6, 1), attack, loss=squared)
        rows = torch.linalg.vector_norm(w, q, dim=1)
        first, second = float((a.abs() * rows).sum()), float(4 / (3 * math.sqrt(3)) * (a.abs() * rows**2).sum())
        assert float((net(moved) - net(x)).abs().max()) <= lemma_1(0.2, first, second)


def test_terms_by_hand():
    assert lemma_1(0.5, 3.0, 2.0) == pytest.approx(4.0)
    assert bound(1.0, 0.5, 3.0, 2.0) == pytest.approx(2 * (1 + 4 * 0.5 * (3 + 0.5 * 2)))
    assert horizon(0.1, 2.0, 0.5, 3.0) == pytest.approx(0.05)  # without a second derivative the other term is half the radius
    assert horizon(100.0, 2.0, 0.5, 3.0) == pytest.approx(1 / 6)
    assert horizon(1.0, 2.0, 100.0, 3.0, 1.0) == pytest.approx(4 * 4 / (2 * 2 * 3 + 8 * 4))


def by_hand():
    """Dense and sparse perceptrons of two pixels whose hidden layers are the identity: images x > 0 have the outputs (3 x_1, 4 x_2, 0),
    and (3 x_1, 0, 0) without the weight that is pruned. All scales are 1."""
    net = Perceptron(2, 2, 3, torch.Generator()).requires_grad_(False).eval()
    for layer, weight in zip(net.layers, (torch.eye(2), torch.eye(2), torch.tensor([[3.0, 0], [0, 4], [0, 0]])), strict=True):
        layer.weight.copy_(weight)
    masks = {"layers.2.weight": torch.tensor([[True, True], [True, False], [True, True]])}
    return {"dense": Masked(net, {}, False), "sparse": Masked(deepcopy(net), masks, False)}


def test_distances_by_hand():
    x = torch.tensor([[1.0, 1], [2, 1]]).view(2, 1, 1, 2)
    adversarial = {"dense": torch.tensor([[1.0, 2], [2, 3]]).view(2, 1, 1, 2), "sparse": torch.tensor([[2.0, 1], [4, 1]]).view(2, 1, 1, 2)}
    # Outputs are (3, 4, 0), (6, 4, 0) and (3, 0, 0), (6, 0, 0); under attack (3, 8, 0), (6, 12, 0) and (6, 0, 0), (12, 0, 0).
    found = compared(by_hand(), x, adversarial, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    assert found["output_distance"] == pytest.approx(4)
    assert found["target_distance"] == pytest.approx(math.sqrt((3**2 + 8**2 + 6**2 + 12**2) / 2))
    # The dense kernel is (x x̃) diag(19, 33, 1), one for the last layer and twice the squared weight for the others; the sparse one has
    # (x x̃) diag(19, 0, 1) and x_1 x̃_1 for the second class. The products x x̃ are 3, 5, 4, 7 and 3, 5, 5, 9; those x_1 x̃_1 2, 4, 4, 8.
    squares = (19**2 + 1) * (1**2 + 2**2) + (33 * 3 - 2) ** 2 + (33 * 5 - 4) ** 2 + (33 * 4 - 4) ** 2 + (33 * 7 - 8) ** 2
    assert found["kernel_distance"] == pytest.approx(math.sqrt(squares) / 2)
    assert found["slope"] == pytest.approx(4)
    assert found["lipschitz"] == pytest.approx(4)
    assert found["attack_change"] == pytest.approx(8)
    assert found["residual"] == pytest.approx(math.hypot(6, 11))
    assert found["dense_loss"] == pytest.approx((2**2 + 8**2 + 6**2 + 11**2) / 4)
    assert found["sparse_loss"] == pytest.approx((5**2 + 12**2 + 1) / 4)


def test_the_slope_is_that_of_the_steepest_image():
    """Where a pixel is negative its unit is off."""
    model = by_hand()["dense"]
    both, first, second = torch.tensor([[1.0, 1]]), torch.tensor([[1.0, -1]]), torch.tensor([[-1.0, 1]])
    assert [slope(model, x.view(1, 1, 1, 2)) for x in (both, first, second)] == pytest.approx([4, 3, 4])
    for x in (torch.cat([first, second]), torch.cat([second, first])):
        assert slope(model, x.view(2, 1, 1, 2)) == pytest.approx(4)


def test_a_column_between_two_rows_is_read_off_the_line():
    rows = [{"time": 0.0, "loss": 4.0}, {"time": 1.0, "loss": 8.0}, {"time": 3.0, "loss": 2.0}]
    assert [_at(rows, "loss", t) for t in (0, 0.25, 1, 2.5, 3, 7)] == pytest.approx([4, 5, 8, 3.5, 2, 2])


def test_the_summary_by_hand():
    """Constants are the largest over the run; the bound has the measured slope, the certain one the product of norms."""
    row = {"target_distance": 3.0, "kernel_distance": 40.0, "slope": 1.0, "lipschitz": 4.0, "residual": 2.0, "attack_change": 0.5}
    rows = [
        row | {"time": 0.0, "output_distance": 1.0, "dense_loss": 8.0},
        row | {"time": 0.5, "output_distance": 15.0, "dense_loss": 4.0, "slope": 2.0, "residual": 3.0, "kernel_distance": 90.0},
        row | {"time": 1.0, "output_distance": 20.0, "dense_loss": 2.0, "lipschitz": 5.0, "target_distance": 9.0},
    ]
    found = summary(Dynamics(Data("mnist14"), 8, attack=PGD(0.5, steps=1, norm="l2", start="zero"), gamma_squared=0.01), rows)
    assert found["alpha"] == pytest.approx(5)  # of the first row: 9 + 0.01 * 1600
    assert found["bound"] == pytest.approx(2 * (5 + 4 * 2 * 0.5))
    assert found["certified_bound"] == pytest.approx(2 * (5 + 4 * 5 * 0.5))
    assert found["attack_term"] == pytest.approx(4 * 2 * 0.5)
    assert found["lemma_bound"] == pytest.approx(2 * 5 * 0.5)
    assert found["horizon"] == pytest.approx(1 / (2 + 3 / 0.1))
    assert found["learned_by_horizon"] == pytest.approx((8 - 4) / 8 / 32 / 0.5)  # on the way to the second row
    assert found["distance_at_horizon"] == pytest.approx(1 + 14 / 32 / 0.5)
    assert found["learned"] == pytest.approx(0.75)
    assert found["beyond"] == 1.0


# ---- dynamics -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("masked", [False, True])
def test_a_step_moves_clean_outputs_by_the_mixed_kernel(masked):
    """f(X) after a step of rate r is f(X) - r / N K(X, X̃) (f(X̃) - Y), up to r² (Theorem 1)."""
    net, x, y = some()
    net, x, y = net.double(), x.double(), y.double()
    model = structure(TINY, net, x, y, 0) if masked else Masked(net, {}, False)
    moved, rate = attacked(model, x, y, ATTACK), 1e-4
    before, residual, mixed = model(x).detach(), (model(moved) - y).detach(), kernel(model, x, moved)
    descend(model, moved, y, rate)
    expected = -rate / len(x) * (mixed @ residual.flatten()).view_as(before)
    torch.testing.assert_close(model(x).detach() - before, expected, rtol=1e-2, atol=1e-8)
    assert (mixed - mixed.T).abs().max() > 1e-3  # not symmetric: clean rows, adversarial columns


@pytest.mark.parametrize(("attack", "equal"), [(NOTHING, True), (ATTACK, False)])
def test_an_objective_of_zero_means_equal_outputs_where_there_is_no_attack(attack, equal):
    """Pruning the weights of pixels that are blank in every image changes no output and no kernel; an attack uses those pixels."""
    net, x, y = some()
    blank = torch.ones(12, 16, dtype=torch.bool)
    blank[:, :4] = False
    models = {"dense": Masked(net, {}, False), "sparse": Masked(deepcopy(net), {"layers.0.weight": blank}, False)}
    for _ in range(5):
        images = {k: attacked(m, x, y, attack) for k, m in models.items()}
        found = compared(models, x, images, y)
        assert (found["target_distance"] < 1e-5) == equal
        assert (found["kernel_distance"] < 1e-5) == equal
        for k, m in models.items():
            descend(m, images[k], y, 0.5)
    assert torch.allclose(models["dense"](x), models["sparse"](x), atol=1e-5) == equal


def test_wider_kernels_move_less():
    moved = {}
    for width in (16, 512):
        drifts = []
        for seed in range(4):
            _, x, y = some(seed)
            model = Masked(Perceptron(16, width, 3, generator(seed, "init")).eval(), {}, False)
            start = kernel(model, x, x)
            for _ in range(10):
                descend(model, x, y, 0.2)
            drifts.append(float((kernel(model, x, x) - start).norm() / start.norm()))
        moved[width] = sum(drifts) / 4
    assert moved[512] < moved[16] / 2  # a sixth, if it falls like one over the root of the width


# ---- cross-entropy (Appendix B) -------------------------------------------------------------------------------------------------
def test_of_the_two_inequalities_for_cross_entropy_only_that_between_norms_holds():
    rng = torch.Generator().manual_seed(0)
    f, g = (3 * torch.randn(5000, 4, generator=rng) for _ in range(2))
    g = torch.where(torch.rand(5000, 4, generator=rng) < 0.5, f, g)  # logits that agree in some classes
    change = f.softmax(1) - g.softmax(1)
    assert (change.norm(dim=1) <= (f - g).norm(dim=1) + 1e-6).all()  # (B.28)
    assert (change.abs() > (f - g).abs() + 1e-6).any()  # (B.27)


# ---- the search -----------------------------------------------------------------------------------------------------------------
def objective(job, net, sparse, x, y):
    """Equation 13 by the functions that the theorem's terms come from."""
    models = {"dense": Masked(net, {}, False), "sparse": sparse}
    found = compared(models, x, {k: attacked(m, x, y, job.attack) for k, m in models.items()}, y)
    return found["target_distance"] ** 2 + job.gamma_squared * found["kernel_distance"] ** 2


def test_a_search_lowers_the_objective_at_the_same_counts():
    net, x, y = some(width=24)
    jobs = {s: replace(TINY, structure=s, searching=100) for s in ("magnitude", "searched", "transferred")}
    made = {s: structure(job, net, x, y, 0) for s, job in jobs.items()}
    worth = {s: objective(jobs[s], net, model, x, y) for s, model in made.items()}
    assert worth["transferred"] < worth["magnitude"] / 4
    per_layer = [counts(m.masks) for m in made.values()]
    assert per_layer[0] == per_layer[1] == per_layer[2]
    for name, p in net.named_parameters():
        assert torch.equal(made["searched"].masks[name], made["transferred"].masks[name])
        assert torch.equal(made["searched"].inner.get_parameter(name), p)
        assert not torch.equal(made["transferred"].inner.get_parameter(name), p)
    assert any((made["magnitude"].masks[n] != m).any() for n, m in made["searched"].masks.items())


def test_a_step_of_the_search_descends_the_printed_objective():
    """Adam's first step moves each active weight by the learning rate against the sign of the gradient of equation 13, in which each
    network meets its own adversarial images and clean images are the rows of kernels; by whole Jacobians here."""
    net, x, y = some(width=10)
    net, x, y = net.double(), x.double(), y.double()
    job = replace(TINY, density=0.6, gamma_squared=0.3, searching=1)
    sparse = structure(job, net, x, y, 0)
    images, own = (attacked(m, x, y, ATTACK) for m in (Masked(net, {}, False), sparse))
    before = {n: p.detach().clone() for n, p in sparse.inner.named_parameters()}
    weights = {n: (p * sparse.masks[n]).requires_grad_(True) for n, p in before.items()}
    wanted = tangent_kernel(net, x, images, how="jacobian").detach()
    found = tangent_kernel(net, x, own, parameters=weights, masks=sparse.masks, how="jacobian")
    outputs = functional_call(net, weights, (own,)) - net(images).detach()
    loss = outputs.square().sum() / len(x) + 0.3 * (found - wanted).square().sum() / len(x) ** 2
    gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    search(job, net, sparse, counts(sparse.masks), x, y)
    checked = 0
    for name, p in sparse.inner.named_parameters():
        steep = sparse.masks[name] & (gradients[name].abs() > 1e-3)
        checked += int(steep.sum())
        torch.testing.assert_close((p.detach() - before[name])[steep], -RATE * gradients[name][steep].sign(), rtol=1e-3, atol=0)
    assert checked > 60


# ---- the job --------------------------------------------------------------------------------------------------------------------
def test_the_job_starts_at_the_printed_objective_and_stays_below_the_bound(store):
    execute(task(TINY, 0), store)
    found, table = store.results(task(TINY, 0)), store.table(task(TINY, 0))
    assert list(table.time) == [0.0, 0.5, 1.0, 2.5]
    first = table.iloc[0]
    assert found["alpha"] ** 2 == pytest.approx(first.target_distance**2 + 1e-3 * first.kernel_distance**2)
    assert first.dense_drift == first.sparse_drift == 0
    assert found["beyond"] is None
    assert table.output_distance.max() <= found["bound"] <= found["certified_bound"]
    assert table.attack_change.max() <= found["lemma_bound"]
    assert table.dense_loss.iloc[-1] < first.dense_loss
    assert 0 < found["learned_by_horizon"] < found["learned"]


def test_each_network_of_the_job_is_attacked_and_trained_by_itself(store):
    """The first two rows by the functions that the job is made of."""
    execute(task(TINY, 0), store)
    split = load(TINY.data)
    x, y = to_float(split.train.x[:6]), F.one_hot(split.train.y[:6], split.classes).float()
    net = Perceptron(x[0].numel(), 8, split.classes, generator(0, "init")).eval()
    models = {"dense": Masked(net, {}, False), "sparse": structure(TINY, net, x, y, 0)}
    for _, row in store.table(task(TINY, 0))[:2].iterrows():
        images = {k: attacked(m, x, y, TINY.attack) for k, m in models.items()}
        expected = compared(models, x, images, y)
        assert {k: row[k] for k in expected} == pytest.approx(expected, rel=1e-4)
        for k, m in models.items():
            descend(m, images[k], y, TINY.rate)


def test_impossible_choices_are_refused():
    with pytest.raises(SpecError, match=r"Dynamics.steps"):
        Dynamics(Data("mnist14"), 8, steps=1)
    with pytest.raises(SpecError, match=r"Give Dynamics.searching above 40"):
        Dynamics(Data("mnist14"), 8, "searched", searching=40)
