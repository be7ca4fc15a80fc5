"""Figure 1: robust train and test accuracy over epochs, by sparsity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from replib.analysis.evaluation import Evaluate
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import Row, complete, frame
from replib.experiments.sparsity_winning_twice.runs import PAPER, grid
from replib.spec import Job, task
from replib.store.evidence import Reader

LEVELS = (0.6, 0.4, 0.2, 0.1)
"""Densities of Flying Bird+ in Figure 1: with dense, the sparsities that the paper's Tables 1, A9 and A13 have."""
CURVE_POINTS = 8
METRICS = ("robust_accuracy_best", "robust_accuracy_final", "robust_accuracy_diff", "robust_generalization_gap", "final_density_percent")
"""What the page tabulates."""


def curve_epochs(epochs: int, points: int = CURVE_POINTS) -> list[int]:
    """At most `points` + 1 epochs of a run, first and last included, as even as whole numbers allow."""
    return sorted({max(1, round(epochs * i / points)) for i in range(points + 1)})


def rows(p: Profile) -> list[Row]:
    """Dense, and Flying Bird+ by its initial sparsity. The runs at 80 and 90 % are those of Table 1; all keep every epoch's weights."""
    return [replace(row, run=replace(row.run, retain=("weights",))) for row in grid(p, CIFAR10, LEVELS, ("Flying Bird+",))]


def curve(row: Row) -> Evaluate:
    """Robust accuracy of about nine epochs on training images (without augmentation, in eval mode) and test images."""
    places = [f"epoch_{n}/{part}" for n in curve_epochs(row.run.epochs) for part in ("train", "test")]
    return Evaluate(row.run, row.attack, tuple(places))


def jobs(p: Profile) -> list[Job]:
    """Runs, their evaluations at the best and final epochs, and the curves."""
    return [job for row in rows(p) for job in (*row.jobs(), curve(row))]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Gap, drop and accuracies of each row."""
    return frame(reader, rows(p), complete(reader, jobs(p), seeds), paper=PAPER, exhibit="figure_1")


def curves(r: Any) -> pd.DataFrame:
    """What Figure 1 draws: sparsity_percent, setting, seed, split ("train" or "test"), epoch, robust_accuracy in percent."""
    return pd.DataFrame(_curve_points(r.evidence, r.profile, r.seeds))


def _curve_points(reader: Reader, p: Profile, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    for row in rows(p):
        for seed in seeds:
            for place, found in reader.results(task(curve(row), seed)).items():
                epoch, _, split = place.removeprefix("epoch_").partition("/")
                yield {
                    "sparsity_percent": row.sparsity_percent, "setting": row.setting, "seed": seed, "split": split, "epoch": int(epoch),
                    "robust_accuracy": found["accuracy"],
                }  # fmt: skip


EXHIBIT = Exhibit(f"{PAPER}/figure_1", "Robust train and test accuracy over epochs, dense to 90 %", jobs, read, rows=rows)
