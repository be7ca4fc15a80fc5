"""The figures of *Sparsity Winning Twice*: the jobs behind each, its numbers for the claims, and the data that is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from replib.analysis.evaluation import Evaluate
from replib.experiments.profiles import Profile
from replib.experiments.rows import COLUMNS, Row, frame
from replib.experiments.sparsity_winning_twice import CIFAR10, ticket
from replib.methods import FlyingBirdPlus, Quota
from replib.spec import Job, task
from replib.store import Missing
from replib.store.evidence import Reader

PAPER = "sparsity_winning_twice"


def tidy(exhibit: str, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows with setting, metric, seed and value (and what else differs) as a frame with the columns of all results."""
    base = {"paper": PAPER, "exhibit": exhibit, "dataset": CIFAR10[0], "architecture": CIFAR10[1], "variant": ""}
    return pd.DataFrame([base | row for row in rows], columns=list(COLUMNS))


def complete(reader: Reader, jobs: Sequence[Job], seeds: Sequence[int]) -> list[int]:
    """The seeds of which all `jobs` are done; raises :class:`Missing` for the first one wanting if there is none."""
    missing: Missing | None = None
    found = []
    for seed in seeds:
        try:
            for job in jobs:
                reader.summary(task(job, seed))
            found.append(seed)
        except Missing as e:
            missing = missing or e
    if not found and missing:
        raise missing
    return found


# ---- Figure 1: robust accuracy over epochs -------------------------------------------------------------------------------------------
LEVELS = (0.6, 0.4, 0.2, 0.1)
"""Densities of Flying Bird+ in Figure 1: with dense, the sparsities that the paper's Tables 1, A9 and A13 have."""
CURVE_POINTS = 10
FIGURE_1_METRICS = (
    "robust_accuracy_best", "robust_accuracy_final", "robust_accuracy_diff", "robust_generalization_gap", "final_density_percent",
)  # fmt: skip


def curve_epochs(epochs: int, points: int = CURVE_POINTS) -> list[int]:
    """At most `points` + 1 epochs of a run, first and last included, as even as whole numbers allow."""
    return sorted({max(1, round(epochs * i / points)) for i in range(points + 1)})


def figure_1_rows(p: Profile) -> list[Row]:
    """Dense, and Flying Bird+ by its initial sparsity. The runs at 80 and 90 % are those of Table 1; all keep every epoch's weights."""
    recipe = p.recipe(*CIFAR10)
    base = recipe.pgd_at(retain=("weights",), name="Baseline")
    rows = [Row(*CIFAR10, 0.0, "Baseline", base, recipe.test_attack())]
    for density in LEVELS:
        run = replace(base, ticket=ticket(recipe, density, Quota("igq")), method=FlyingBirdPlus(), name="Flying Bird+")
        rows.append(Row(*CIFAR10, round(100 * (1 - density), 6), "Flying Bird+", run, recipe.test_attack()))
    return rows


def curve(row: Row) -> Evaluate:
    """Robust accuracy of about ten epochs on training images (without augmentation, in eval mode) and test images."""
    places = [f"epoch_{n}/{part}" for n in curve_epochs(row.run.epochs) for part in ("train", "test")]
    return Evaluate(row.run, row.attack, tuple(places))


def figure_1_jobs(p: Profile) -> list[Job]:
    """Runs, their evaluations at the best and final epochs, and the curves."""
    return [job for row in figure_1_rows(p) for job in (*row.jobs(), curve(row))]


def figure_1_read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Gap, drop and accuracies of each row."""
    done = complete(reader, figure_1_jobs(p), seeds)
    return frame(reader, figure_1_rows(p), done, paper=PAPER, exhibit="figure_1")


def curves(r: Any) -> pd.DataFrame:
    """What Figure 1 draws: sparsity_percent, setting, seed, split ("train" or "test"), epoch, robust_accuracy in percent."""
    return pd.DataFrame(_curve_points(r.evidence, r.profile, r.seeds))


def _curve_points(reader: Reader, p: Profile, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    for row in figure_1_rows(p):
        for seed in seeds:
            for place, found in reader.results(task(curve(row), seed)).items():
                epoch, _, split = place.removeprefix("epoch_").partition("/")
                yield {
                    "sparsity_percent": row.sparsity_percent, "setting": row.setting, "seed": seed, "split": split, "epoch": int(epoch),
                    "robust_accuracy": found["accuracy"],
                }  # fmt: skip
