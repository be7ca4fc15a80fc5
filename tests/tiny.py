"""A project of one small table: what is made, published, judged and compared in seconds instead of hours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from replib.experiments import profiles
from replib.experiments.exhibit import rows_exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import SMOKE, Profile
from replib.experiments.registry import EXHIBITS
from replib.experiments.rows import Row
from replib.experiments.runner import closure, run
from replib.experiments.sparsity_winning_twice.runs import ticket
from replib.methods import Random
from replib.spec import Task
from replib.store import Store
from replib.store.evidence import Evidence, Published, publish

ID = "sparsity_winning_twice/table_1"
REPORTED = Path(__file__).resolve().parents[1] / "results" / "reported"
SEEDS = (0, 1)
PROFILE = replace(SMOKE, name="laptop", flagship=len(SEEDS), ordering=len(SEEDS), watermark="")
"""The smallest scale under the name of the default profile, and without its watermark: claims are judged and results published."""


def rows(p: Profile) -> list[Row]:
    """Dense and randomly pruned, one epoch each."""
    recipe = p.recipe(*CIFAR10)
    dense = recipe.pgd_at(epochs=1, name="Baseline")
    pruned = replace(dense, ticket=ticket(recipe, 0.2, Random()), name="Random Pruning")
    return [
        Row(*CIFAR10, 0.0, "Baseline", dense, recipe.test_attack()),
        Row(*CIFAR10, 80.0, "Random Pruning", pruned, recipe.test_attack()),
    ]


EXHIBIT = rows_exhibit(ID, "A table of two rows", rows, "ordering")


def tasks(seed: int) -> list[Task]:
    """All jobs of one seed: two runs, a ticket, and two evaluations of each run."""
    return closure(EXHIBIT.tasks(PROFILE, [seed]))


@dataclass(frozen=True)
class Tiny:
    """A project's folder in which both seeds are made and published."""

    root: Path

    @property
    def store(self) -> Store:
        """What was made here."""
        return Store(self.root / "build" / "store")

    @property
    def published(self) -> Published:
        """The evidence of the profile."""
        return Published(self.root / "results" / PROFILE.name)

    @property
    def both(self) -> Evidence:
        """What pages read."""
        return Evidence(self.store, self.published)

    def unmake(self, *gone: Task) -> None:
        """Remove jobs from the store; all of them when none is named."""
        for folder in [self.store.folder(t) for t in gone] or [self.store.root]:
            shutil.rmtree(folder)

    def unpublish(self) -> None:
        """Remove all evidence. Before anything reads it."""
        shutil.rmtree(self.published.root)

    def republish(self, t: Task, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the published summary of `t`, as if another machine had made it. Before anything reads it."""
        path = self.published.root / t.name / "summaries.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change(next(line for line in lines if line["seed"] == t.seed))
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make(root: Path) -> Tiny:
    """The project made and published in `root`."""
    made = Tiny(root)
    every = [t for seed in SEEDS for t in tasks(seed)]
    assert not run(every, made.store, show=False).failed
    publish(made.store, every, made.published.root)
    return made


def enter(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """From now on the registry knows one exhibit, and its default profile is the smallest scale."""
    monkeypatch.setitem(profiles.PROFILES, PROFILE.name, PROFILE)
    for id in list(EXHIBITS):
        monkeypatch.delitem(EXHIBITS, id)
    monkeypatch.setitem(EXHIBITS, ID, EXHIBIT)
    if not (root / "results" / "reported").exists():
        (root / "results").mkdir(parents=True, exist_ok=True)
        (root / "results" / "reported").symlink_to(REPORTED)
        (root / "book").symlink_to(REPORTED.parents[1] / "book")
    monkeypatch.setenv("REPLIB_ROOT", str(root))
    monkeypatch.delenv("REPLIB_PROFILE", raising=False)
