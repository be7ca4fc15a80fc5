"""Flying Bird and Flying Bird+: counts to the integer, the controller by hand, and masks that hold at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import FlyingBird, FlyingBirdPlus, Quota, Ticket
from replib.methods.flying_bird import exchange, swap_ratio
from replib.sparsity.masks import buffers_like
from replib.spec import task
from replib.store.context import Context
from replib.training import networks
from replib.training.state import State

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
TICKET = Ticket(RECIPE.data, RECIPE.net, 0.3, Quota("igq"))
T_ALL, EVERY = 70_400, 2_000  # A on CIFAR: 200 epochs of 352 steps


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def layer(n=300, active=90, seed=0):
    g = generator(seed)
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=g)[:active]] = True
    return torch.randn(n, generator=g) * mask, mask, torch.rand(n, generator=g)


# ---- k(t) ----------------------------------------------------------------------------------------------------------------
def test_swap_ratio_is_a_cosine_between_its_ends():
    assert swap_ratio(0, T_ALL) == 0.5
    assert swap_ratio(T_ALL, T_ALL) == pytest.approx(0.005, abs=1e-15)
    assert swap_ratio(35_200, T_ALL) == pytest.approx(0.2525, abs=1e-12)
    values = [swap_ratio(t, T_ALL) for t in range(0, T_ALL + 1, 400)]
    assert values == sorted(values, reverse=True)


def test_a_boost_at_every_late_update_halves_the_weights():
    """The published FLOPs of Flying Bird+ can only come from delta_p = 0.4 as a fraction."""
    late = [t for t in range(EVERY, T_ALL + 1, EVERY) if t >= T_ALL / 2]
    assert (late[0], late[-1], len(late)) == (36_000, 70_000, 18)
    assert math.prod(1 - 0.4 * swap_ratio(t, T_ALL) for t in late) == pytest.approx(0.4960, abs=5e-5)
    assert math.prod(1 - 0.004 * swap_ratio(t, T_ALL) for t in late) > 0.993  # the literal "0.4 %"


def test_updates_of_the_paper():
    state = SimpleNamespace(total_steps=T_ALL)
    assert FlyingBird().every(state) == EVERY
    assert T_ALL // EVERY == 35


# ---- one exchange ----------------------------------------------------------------------------------------------------------
def test_fifty_random_updates_keep_every_layers_count():
    g = generator(1)
    layers = {n: layer(n, a, n)[1] for n, a in ((300, 90), (64, 1), (100, 99), (50, 50), (40, 0), (2, 1))}
    for step in range(50):
        for n, mask in layers.items():
            before = int(mask.sum())
            w = torch.randn(n, generator=g) * mask
            layers[n], moved = exchange(w, mask, torch.rand(n, generator=g), k=swap_ratio(step, 50))
            assert int(layers[n].sum()) == before == moved["kept"]
            assert moved["pruned"] == moved["grown"]


def test_smallest_weights_leave_and_largest_gradients_enter():
    w = torch.tensor([5.0, -1.0, 3.0, -0.5, 0.0, 0.0, 0.0, 0.0])
    mask = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0], dtype=torch.bool)
    gradient = torch.tensor([9.0, 0.1, 9.0, 0.2, 0.3, 0.9, 0.0, 0.5])
    new, moved = exchange(w, mask, gradient, k=0.5)  # ceil(0.5 * 4) = 2
    assert new.tolist() == [True, False, True, False, False, True, False, True]
    assert moved == {"pruned": 2, "grown": 2, "kept": 4}
    again, _ = exchange(w, mask, torch.tensor([0.0, 0.8, 0, 0.1, 0.2, 0.9, 0, 0.5]), k=0.5)
    assert again.tolist() == [True, True, True, False, False, True, False, False]  # just pruned, grown again


@pytest.mark.parametrize("boosts", [(0.4, 0.0), (0.0, 0.05), (0.4, 0.05), (0.0, 0.0)])
@pytest.mark.parametrize("k", [0.5, 0.2525, 0.1, 0.005])
@pytest.mark.parametrize("active", [1, 2, 7, 90, 299])
def test_counts_of_flying_bird_plus_to_the_integer(boosts, k, active):
    delta_p, delta_g = boosts
    w, mask, score = layer(300, active)
    new, moved = exchange(w, mask, score, k=k, more_pruning=delta_p, more_growth=delta_g)
    q = math.ceil(k * active)
    dropped = min(q + (math.ceil(k * delta_p * active) if delta_p else 0), active - 1)
    grown = math.floor(q * (1 + delta_g)) if delta_g else min(q, dropped)
    grown = min(grown, 300 - (active - dropped))  # there are no more places
    assert moved == {"pruned": dropped, "grown": grown, "kept": active - dropped + grown}
    assert int(new.sum()) == active - dropped + grown >= 1


@pytest.mark.parametrize(("k", "pruned", "grown", "kept"), [(0.5, 63, 47, 74), (0.1, 13, 9, 86)])
def test_counts_of_flying_bird_plus_by_hand(k, pruned, grown, kept):
    """Of 90 weights, both boosts in force: 45 and 18 more leave, 45 and a twentieth of these enter; then 9 and 3.6 more, 9 and 0.45."""
    w, mask, score = layer(300, 90)
    new, moved = exchange(w, mask, score, k=k, more_pruning=0.4, more_growth=0.05)
    assert moved == {"pruned": pruned, "grown": grown, "kept": kept}
    assert int(new.sum()) == kept


def test_equal_magnitudes_prune_exactly_q():
    mask = torch.ones(10, dtype=torch.bool)
    mask[8:] = False
    new, moved = exchange(torch.ones(10) * mask, mask, torch.zeros(10), k=0.25)
    assert moved["pruned"] == 2
    assert int(new.sum()) == 8


def test_a_layer_with_one_weight_keeps_it():
    mask = torch.tensor([False, True, False])
    new, _ = exchange(torch.tensor([0.0, 1e-9, 0.0]), mask, torch.tensor([9.0, 0.0, 9.0]), k=0.5, more_pruning=0.4)
    assert new.tolist() == mask.tolist()


def test_dense_and_empty_layers_are_left_alone():
    for mask in (torch.ones(9, dtype=torch.bool), torch.zeros(9, dtype=torch.bool)):
        new, moved = exchange(torch.randn(9), mask, torch.rand(9), k=0.5, more_growth=0.05)
        assert torch.equal(new, mask)
        assert new is not mask
        assert moved == {"pruned": 0, "grown": 0, "kept": int(mask.sum())}


# ---- the controller ----------------------------------------------------------------------------------------------------------
def test_signals_by_hand():
    m = FlyingBirdPlus()
    assert m.signals([1, 2, 3, 2, 4], [5, 5, 4, 3, 6]) == (0.75, 0.5)  # gap up, up, down, up; loss same, down, down, up
    assert m.signals([4, 3, 2, 1, 0], [5, 4, 3, 2, 1]) == (0.0, 0.0)
    assert m.signals([0, 0, 0, 0, 0], [1, 1, 1, 1, 1]) == (0.0, 1.0)  # a gap must rise, a loss must not fall
    text = FlyingBirdPlus(window=5, frequency=0.61, plateau_tolerance=0.1)
    assert text.signals([0, 1, 2, 3, 4, 3], [1, 1.05, 1.0, 2.0, 2.05, 1.0]) == (0.8, 0.6)


def history(gaps, losses):
    return [{"train_ra": 50 + g, "val_ra": 50, "val_robust_loss": v} for g, v in zip(gaps, losses, strict=True)]


@pytest.mark.parametrize(
    ("epoch", "gaps", "losses", "expected"),
    [
        (100, [0, 1, 2, 1, 0], [4, 3, 2, 1, 0], (0.4, 0.0)),  # 2 of 4 is enough
        (100, [0, 1, 0, -1, -2], [0, 1, 2, 3, 4], (0.0, 0.05)),
        (100, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], (0.4, 0.05)),  # both may hold
        (99, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], (0.0, 0.0)),  # before t_start
        (100, [0, 1, 2, 3], [0, 1, 2, 3], (0.0, 0.0)),  # window not full
        (150, [9, 0, 1, 0, -1, -2], [-9, 4, 3, 2, 1, 0], (0.0, 0.0)),  # what is older does not count
    ],
)
def test_boosts(epoch, gaps, losses, expected):
    state = SimpleNamespace(epoch=epoch, epochs=200, history=history(gaps, losses))
    assert FlyingBirdPlus().boosts(state) == expected


def test_signals_are_logged_each_epoch_before_they_are_used():
    method, row = FlyingBirdPlus(window=2), history([3], [1])[0]
    assert method.after_epoch(SimpleNamespace(history=history([0, 5], [2, 2])), row) is False
    assert (row["gap_rises"], row["loss_rises"]) == (0.5, 0.5)


# ---- in a run ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Watched(FlyingBirdPlus):
    """Flying Bird+ that checks, after every step, what must always hold."""

    def after_step(self, state):
        check(state)
        weights = state.weights
        old = {n: m.clone() for n, m in state.masks.items()}
        ever = {n: m.clone() for n, m in state.method["ever_active"].items()}
        values = {n: w.detach().clone() for n, w in weights.items()}
        super().after_step(state)
        check(state)
        for n, m in state.masks.items():
            grown = m & ~old[n]
            assert not weights[n].detach()[grown].any()
            assert not any(t[grown].any() for t in buffers_like(weights[n], state.optimizer))
            assert torch.equal(weights[n].detach()[m & old[n]], values[n][m & old[n]])
            assert (state.method["ever_active"][n] >= ever[n]).all()
            assert (state.method["ever_active"][n] >= m).all()
            SEEN.append(int(grown.sum()))


SEEN: list[int] = []


def check(state):
    for n, m in state.masks.items():
        w = state.weights[n]
        assert m.dtype == torch.bool
        assert torch.equal(w.detach() * m, w.detach())
        moments = buffers_like(w, state.optimizer)
        assert len(moments) == 1
        assert all(torch.equal(t * m, t) for t in moments)
        assert w.grad[~m].abs().sum() > 0 or m.all()  # dense gradients stay visible


def test_masks_hold_in_every_step_of_a_run(store):
    SEEN.clear()
    ticket = Ticket(RECIPE.data, RECIPE.net, 0.3, Quota("igq"))
    run = RECIPE.pgd_at(ticket=ticket, method=Watched(interval=1 / 8, window=1, t_start=0.0), epochs=4)
    execute(task(ticket, 0), store)
    t = task(run, 0)
    out = networks.run_train(run, Context(store, t))
    assert sum(SEEN) > 100
    assert out.results["method"]["updates"] == 8
    assert out.results["method"]["explored"] > out.results["density"]
    assert (out.arrays["counts"][:, 0] == [0, 1, 2, 3, 4, 5, 6, 7, 8]).all()


def test_plain_flying_bird_keeps_every_layers_count_for_the_whole_run(store):
    ticket = Ticket(RECIPE.data, RECIPE.net, 0.3, Quota("igq"))
    run = RECIPE.pgd_at(ticket=ticket, method=FlyingBird(interval=1 / 8), epochs=4)
    execute(task(ticket, 0), store)
    out = networks.run_train(run, Context(store, task(run, 0)))
    assert len(out.arrays["counts"]) == 9
    assert (out.arrays["counts"][:, 1:] == out.arrays["counts"][0, 1:]).all()
    assert {row["density"] for row in out.metrics} == {out.metrics[0]["density"]}


def test_updates_become_rarer_in_the_second_half_if_asked(store):
    ticket = Ticket(RECIPE.data, RECIPE.net, 0.3, Quota("igq"))
    run = RECIPE.pgd_at(ticket=ticket, method=FlyingBird(interval=1 / 8, later_interval=1 / 4), epochs=4)
    execute(task(ticket, 0), store)
    out = networks.run_train(run, Context(store, task(run, 0)))
    assert out.arrays["counts"][:, 0].tolist() == [0, 1, 2, 3, 4, 6, 8]  # of eight steps


@dataclass(frozen=True)
class Checked(FlyingBird):
    """Compares each update with the exchange of the last weights by the size of the last gradient at the ratio of that step."""

    def after_step(self, state):
        before = {n: (m.clone(), state.weights[n].detach().clone(), state.weights[n].grad.clone()) for n, m in state.masks.items()}
        super().after_step(state)
        k = swap_ratio(state.step, state.total_steps)
        for name, (mask, weight, gradient) in before.items():
            expected, moved = exchange(weight, mask, gradient.abs(), k=k)
            EQUAL.append((torch.equal(state.masks[name], expected), moved["grown"]))


EQUAL: list[tuple[bool, int]] = []


def test_a_run_grows_where_the_last_gradient_is_largest(store):
    EQUAL.clear()
    run = RECIPE.pgd_at(epochs=4, ticket=TICKET, method=Checked(interval=1e-9))
    execute(task(TICKET, 0), store)
    networks.run_train(run, Context(store, task(run, 0)))
    assert all(equal for equal, _ in EQUAL)
    assert sum(grown for _, grown in EQUAL) > 0


def test_random_growth_draws_anew_at_every_update(store, monkeypatch):
    asked, plain = [], State.random
    monkeypatch.setattr(State, "random", lambda self, purpose: asked.append(purpose) or plain(self, purpose))
    run = RECIPE.pgd_at(epochs=2, ticket=TICKET, method=FlyingBird(interval=1 / 4, growth="random"))
    execute(task(TICKET, 0), store)
    networks.run_train(run, Context(store, task(run, 0)))
    grown = [purpose for purpose in asked if purpose.startswith("grow")]
    assert len(grown) == len(set(grown)) == 4
