"""The arena: who is in it, at one density, each beside its twin."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from replib.experiments.profiles import LAPTOP, PROFILES
from replib.experiments.registry import EXHIBITS
from replib.experiments.rows import Row
from replib.experiments.runner import closure
from replib.experiments.sparsity_winning_twice.runs import FLYING
from replib.experiments.together import arena
from replib.methods import MaskSearch, Shuffled, Ticket
from replib.spec import ReplibError, key, task

SOURCES = {
    "Random Pruning", "OMP", "SNIP", "GraSP", "SynFlow", "IGQ", "Robust Bird", "Flying Bird", "Flying Bird+",
    "IMP", "Winning Ticket", "S-AWT", "NTT",
}  # fmt: skip
ROWS = arena.rows(LAPTOP)


def by_name(name: str) -> Row:
    return next(r for r in ROWS if r.setting == name)


def test_every_mask_source_of_the_four_papers_is_there_once_with_its_twin():
    names = [r.setting for r in ROWS]
    assert len(names) == len(set(names))
    assert {n for n in names if "shuffled" not in n} == SOURCES | {"Baseline"}
    assert {n.removesuffix(" (shuffled)") for n in names if "shuffled" in n} == SOURCES - {"Random Pruning", "IGQ"}


@pytest.mark.parametrize("line", [r for r in ROWS if r.setting not in ("Baseline", "Flying Bird+")], ids=lambda r: r.setting)
def test_all_have_the_density_that_flying_bird_plus_ends_with(line):
    ended = by_name("Flying Bird+").run
    assert isinstance(line.run.ticket, Ticket | MaskSearch)
    assert line.run.ticket.density == ended
    assert line.run.loss == by_name("Baseline").run.loss
    assert line.run.epochs == by_name("Baseline").run.epochs


@pytest.mark.parametrize("line", [r for r in ROWS if r.setting.endswith("(shuffled)")], ids=lambda r: r.setting)
def test_twins_shuffle_the_mask_of_their_method(line):
    original = by_name(line.setting.removesuffix(" (shuffled)"))
    assert isinstance(line.run.ticket.rule, Shuffled)
    drawn = by_name(arena.ALIKE.get(original.setting, original.setting)).run
    assert line.run.ticket.rule.ticket == (drawn if original.setting in FLYING else drawn.ticket)
    assert line.run.method == by_name("Baseline").run.method  # a fixed mask


def test_the_searches_are_paid_for_and_share_one_twin():
    for name in ("S-AWT", "NTT"):
        assert by_name(name).costs == {"search": by_name(name).run.ticket}
    assert key(by_name("S-AWT (shuffled)").run) == key(by_name("NTT (shuffled)").run)


def test_a_search_of_ones_own_has_a_twin_of_its_own(monkeypatch):
    own = replace(by_name("S-AWT").run.ticket, across="network")
    found = arena.masks(LAPTOP, by_name("Flying Bird+").run) | {"mine": (own, {})}
    monkeypatch.setattr(arena, "masks", lambda p, density: found)
    twin = next(r for r in arena.rows(LAPTOP) if r.setting == "mine (shuffled)")
    assert twin.run.ticket.rule.ticket == own


def test_rounds_of_iterative_pruning_follow_each_other():
    r = LAPTOP.recipe("CIFAR-10", "ResNet-18")
    made = arena.iterative(r)
    assert [m.ticket.density if m.ticket else 1.0 for m in made] == [round(0.8**n, 6) for n in range(arena.ROUNDS)]
    assert all(b.ticket.rule.run == a for a, b in itertools.pairwise(made))


@pytest.mark.parametrize("name", PROFILES)
def test_the_arena_can_be_planned_at_every_scale(name):
    try:
        tasks = closure([task(j, 0) for j in EXHIBITS["together/arena"].jobs(PROFILES[name])])
    except ReplibError as e:
        pytest.fail(str(e))
    assert len(tasks) > 100
