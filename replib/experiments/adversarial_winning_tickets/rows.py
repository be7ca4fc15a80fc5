"""Rows of D's tables and figures: one network at the end of its training, how its curve runs beside the dense one's, and its search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.evaluation import Evaluate
from replib.analysis.kernels import Kernels
from replib.attacks.spec import Attack
from replib.experiments.rows import Line, right
from replib.methods import MaskSearch
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train

DISTANCES = ("kernel_distance", "target_distance")
CURVES = ["epoch", "train_ra", "val_sa", "val_ra"]
SEARCH = ["step", "epoch", *DISTANCES, "train_sa", "test_sa", "churn"]


@dataclass(frozen=True)
class Subnetwork(Line):
    """Accuracy of one network on natural and on adversarial test images, of the latter only where there is an `attack`.

    With `dense` also the mean over epochs of how far its adversarial accuracy lies from that of the dense run, and with a searched mask
    the distances at the start, at half and at the end of the search. `counted` says what share of the weights that its mask keeps lies on
    a path from an input to an output; the others carry nothing of the image, at most a constant where units have biases.

    Departs: the paper draws test accuracy over epochs; here curves are of validation images, and tables of test images.
    """

    attack: Attack | None
    dense: Train | None = None
    counted: bool = False
    checkpoint: str = "final"

    @property
    def place(self) -> str:
        """Where the network is measured."""
        return f"{self.checkpoint}/test"

    @property
    def measured(self) -> dict[str, Evaluate]:
        """Evaluations by metric."""
        natural = {"natural_test_accuracy": Evaluate(self.run, None, (self.place,))}
        return natural | ({"adversarial_test_accuracy": Evaluate(self.run, self.attack, (self.place,))} if self.attack else {})

    @property
    def search(self) -> MaskSearch | None:
        """The search of its mask, where it has one."""
        return self.run.ticket if isinstance(self.run.ticket, MaskSearch) else None

    @property
    def paths(self) -> Kernels | None:
        """What counts the weights on a path, where they are to be counted."""
        return Kernels((self.run.ticket,)) if self.counted else None

    def jobs(self) -> list[Job]:
        beside = [job for job in (self.dense, self.paths) if job]
        return [self.run, *self.measured.values(), *self.costs.values(), *beside]

    def correct(self, reader: Reader, seed: int) -> dict[str, np.ndarray]:
        return {metric: right(reader, task(job, seed), self.place) for metric, job in self.measured.items()}

    def values(self, reader: Reader, seed: int) -> dict[str, float]:
        found = {metric: reader.results(task(job, seed))[self.place]["accuracy"] for metric, job in self.measured.items()}
        if self.dense is not None:
            found["curve_distance"] = curve_distance(reader, self.run, self.dense, seed)
        if self.search is not None:
            found |= milestones(reader.table(task(self.search, seed)))
        if self.paths is not None:
            (mask,) = reader.results(task(self.paths, seed))["tickets"]
            found["effective_percent"] = 100 * mask["effective_density"] / mask["density"]
        spent = [reader.summary(task(job, seed))["cost"]["wall_seconds"] for job in (self.run, *self.costs.values())]
        return found | {"train_seconds": sum(spent), "final_density_percent": 100 * reader.results(task(self.run, seed))["density"]}


def curve_distance(reader: Reader, run: Train, dense: Train, seed: int) -> float:
    """Mean over epochs of the absolute difference of adversarial accuracies, in points."""
    mine, other = (reader.table(task(r, seed)).val_ra.to_numpy() for r in (run, dense))
    return float(np.abs(mine - other).mean())


def milestones(log: pd.DataFrame) -> dict[str, float]:
    """Both distances of a search's log before the first step, at the last line of its first half, and after the last step."""
    half = log[log.step <= log.step.iloc[-1] / 2]
    lines = {"start": log.iloc[0], "half": half.iloc[-1], "end": log.iloc[-1]}
    return {f"{metric}_{when}": float(line[metric]) for metric in DISTANCES for when, line in lines.items()}


def tables(r: Any, jobs: Sequence[tuple[Subnetwork, Job]], columns: Sequence[str]) -> pd.DataFrame:
    """`columns` of the jobs' metrics.csv of all seeds, with what tells the rows apart: data set, setting, sparsity, variant, seed."""
    parts = [r.evidence.table(task(job, seed))[list(columns)].assign(**row.labels(), seed=seed) for row, job in jobs for seed in r.seeds]
    return pd.concat(parts, ignore_index=True)


def curves(r: Any) -> pd.DataFrame:
    """Accuracies in percent by epoch of every row of an exhibit: adversarial of training, natural and adversarial of validation."""
    return tables(r, [(row, row.run) for row in r.exhibit.rows(r.profile)], CURVES)


def searches(r: Any) -> pd.DataFrame:
    """Distances, accuracies and changes of the mask by step of every search of an exhibit; one that two rows share is the first one's."""
    found = {}
    for row in r.exhibit.rows(r.profile):
        if row.search is not None:
            found.setdefault(task(row.search, 0).name, (row, row.search))
    return tables(r, list(found.values()), SEARCH)
