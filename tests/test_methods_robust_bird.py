"""Robust Bird's search: when it triggers, and what it keeps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import BirdSearch, Searched, Ticket
from replib.sparsity.masks import relative_hamming
from replib.spec import SpecError, task

N = 100
RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")


def search(method, weights):
    """Feed one vector of N weights an epoch; returns the state after the search ended."""
    state = SimpleNamespace(epoch=0, epochs=len(weights), step=0, events=[], method={}, history=[])
    method.start(state)
    for w in weights:
        state.weights, row = {"layer": torch.as_tensor(w, dtype=torch.float32)}, {}
        stop = method.after_epoch(state, row)
        state.history.append(row)
        state.epoch += 1
        if stop:
            break
    return state


def moved(changes, density=0.2):
    """Weights whose mask differs from that of the epoch before in 2 * `changes[i]` places: the top block slides."""
    k, at, out = round(density * N), 0, []
    for c in (0, *changes):
        at += c
        w = np.linspace(0.1, 0.0, N)
        w[(at + np.arange(k)) % N] += 1
        out.append(w)
    return out


FROZEN = [np.arange(N, dtype=float)] * 12


@pytest.mark.parametrize("queue", [1, 3, 5])
def test_a_frozen_network_triggers_as_soon_as_the_queue_is_full(queue):
    state = search(BirdSearch((0.2,), tau=1e-9, queue=queue), FROZEN)
    assert state.method["result/trigger"] == {"0.2": queue + 1}
    assert state.epoch == queue + 1


def test_newest_against_each_previous_mask_as_in_the_released_code():
    still = search(BirdSearch((0.2,), tau=0.08, queue=4, compare="latest"), FROZEN)
    assert still.method["result/trigger"] == {"0.2": 5}  # five masks, four distances
    drift = moved([2] * 11)  # each step differs by 0.04, four steps by 0.16
    assert search(BirdSearch((0.2,), tau=0.08, queue=4), drift).method["result/trigger"] == {"0.2": 5}
    assert search(BirdSearch((0.2,), tau=0.08, queue=4, compare="latest"), drift).method["result/trigger"] == {"0.2": 0}


@pytest.mark.parametrize(
    ("changes", "trigger"),
    [
        ([9, 9, 2, 2, 2, 9, 9], 6),  # distances 0.18, 0.18, then three of 0.04 fill a queue of three after epoch 6
        ([2, 2, 2, 9, 9, 9, 9], 4),
        ([2, 2, 9, 2, 2, 9, 2], 0),  # never three in a row
        ([5, 5, 5, 5, 5, 5, 5], 0),  # 0.1 is not below 0.1
        ([2, 2, 9, 2, 2, 2, 9], 7),
    ],
)
def test_trigger_epochs_of_scripted_masks(changes, trigger):
    state = search(BirdSearch((0.2,), tau=0.1, queue=3), moved(changes))
    assert state.method["result/trigger"] == {"0.2": trigger}
    assert state.events[-1]["triggered"] == (trigger > 0)
    logged = [row["mask_distance@0.2"] for row in state.history[1:]]
    assert logged == pytest.approx([2 * c / N for c in changes][: len(logged)])


def test_one_trajectory_serves_all_densities_and_ends_with_the_last():
    weights = moved([6, 6, 1, 1, 1, 1, 1, 1, 1])
    state = search(BirdSearch((0.2, 0.5), tau=0.1, queue=3), weights)
    assert set(state.method["result/trigger"]) == {"0.2", "0.5"}
    assert state.epoch == max(state.method["result/trigger"].values())


def test_tickets_hold_exactly_the_largest_weights():
    for density in (0.2, 0.05, 0.333):
        name = f"{density:g}"
        state = search(BirdSearch((density,), queue=2), FROZEN)
        bits = np.unpackbits(state.method[f"output/ticket@{name}/layer"].numpy(), count=N)
        assert bits.sum() == round(density * N)
        assert bits[-round(density * N) :].all()


def test_a_search_that_never_settles_takes_the_largest_weights_of_the_last_epoch():
    state = search(BirdSearch((0.2,), queue=3), moved([9] * 5))  # the top block of 20 has slid by 45
    assert state.method["result/trigger"] == {"0.2": 0}
    bits = np.unpackbits(state.method["output/ticket@0.2/layer"].numpy(), count=N)
    assert np.flatnonzero(bits).tolist() == list(range(45, 65))


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2, 0.5, 0.8])
def test_distances_have_a_ceiling_and_a_chance_level(density):
    """Below density 0.05 the paper's threshold of 0.1 can hardly be reached at all."""
    g, k = torch.Generator().manual_seed(0), round(density * 2000)
    distances = []
    for _ in range(30):
        a, b = ({"x": torch.zeros(2000, dtype=torch.bool)} for _ in range(2))
        for m in (a, b):
            m["x"][torch.randperm(2000, generator=g)[:k]] = True
        distances.append(relative_hamming(a, b))
        assert distances[-1] <= 2 * min(density, 1 - density) + 1e-9
    assert np.mean(distances) == pytest.approx(2 * density * (1 - density), rel=0.05)
    a, b = torch.zeros(100, dtype=torch.bool), torch.zeros(100, dtype=torch.bool)
    a[:50], b[50:] = True, True
    assert relative_hamming({"x": a}, {"x": b}) == 1.0
    assert relative_hamming({"x": a}, {"x": a}) == 0.0


def test_the_relative_distance_is_one_for_independent_masks():
    drift = moved([2] * 8, density=0.05)  # distance 0.04 of at most 0.1
    assert search(BirdSearch((0.05,), queue=3), drift).method["result/trigger"] == {"0.05": 4}
    state = search(BirdSearch((0.05,), queue=3, relative=True), drift)
    assert state.method["result/trigger"] == {"0.05": 0}
    assert state.history[1]["mask_distance_relative@0.05"] == pytest.approx(0.04 / (2 * 0.05 * 0.95))


def test_a_search_feeds_a_ticket_with_the_searched_mask(store):
    found = RECIPE.standard(epochs=3, method=BirdSearch((0.2, 0.1), tau=1.0, queue=2))
    t = task(found, 0)
    execute(t, store)
    assert store.results(t)["stopped"] == "method"
    assert store.results(t)["method"]["trigger"] == {"0.2": 3, "0.1": 3}
    ticket = Ticket(RECIPE.data, RECIPE.net, 0.2, Searched(found))
    execute(task(ticket, 0), store)
    final, total, kept = store.weights(t, "epoch_3"), 0, {}
    for name, bits in store.arrays(task(ticket, 0)).items():
        layer = name.removeprefix("mask/")
        kept[layer] = torch.from_numpy(np.unpackbits(bits, count=final[layer].numel()).astype(bool)).view(final[layer].shape)
        total += kept[layer].numel()
    assert sum(int(m.sum()) for m in kept.values()) == round(0.2 * total)
    inside = torch.cat([final[n][m].abs() for n, m in kept.items()]).min()
    outside = torch.cat([final[n][~m].abs() for n, m in kept.items()]).max()
    assert inside >= outside
    with pytest.raises(SpecError, match=r"did not look for density 0\.3; add it"):
        execute(task(Ticket(RECIPE.data, RECIPE.net, 0.3, Searched(found)), 0), store)
