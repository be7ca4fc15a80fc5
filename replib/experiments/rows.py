"""Rows of accuracy tables: the jobs behind each number, and the numbers as one tidy frame."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from replib.analysis.evaluation import Evaluate
from replib.attacks import PGD
from replib.methods import BirdSearch, Ticket
from replib.models import Net
from replib.models.build import build
from replib.sparsity.flops import inference_flops, layer_sizes, training_flops
from replib.spec import Job, Task, task
from replib.store import Missing, Store
from replib.training.losses import attack_of
from replib.training.spec import Train

COLUMNS = ("paper", "exhibit", "dataset", "architecture", "sparsity_percent", "setting", "variant", "metric", "seed", "value")


@dataclass(frozen=True)
class Row:
    """One row of a table: what the paper calls it, the run, and the jobs whose training cost belongs to it too."""

    dataset: str
    architecture: str
    sparsity_percent: float
    setting: str
    run: Train
    attack: PGD
    costs: Mapping[str, Job] = field(default_factory=dict)
    variant: str = ""

    @property
    def clean(self) -> Evaluate:
        """Standard accuracy."""
        return Evaluate(self.run, None, ("best_ra/test", "final/test"))

    @property
    def robust(self) -> Evaluate:
        """Robust accuracy, also on the training images."""
        return Evaluate(self.run, self.attack)

    def jobs(self) -> list[Job]:
        """Everything that the row's numbers are read from."""
        return [self.run, self.clean, self.robust, *self.costs.values()]

    def labels(self) -> dict[str, Any]:
        """The identifying columns of the row."""
        return {
            "dataset": self.dataset,
            "architecture": self.architecture,
            "sparsity_percent": self.sparsity_percent,
            "setting": self.setting,
            "variant": self.variant,
        }


def layers(run: Train | Ticket) -> dict[str, Any]:
    """Sizes of the layers of the job's network by parameter name."""
    return _layers(run.net, run.data.role.classes, tuple(run.data.shape))


@functools.cache
def _layers(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, Any]:
    return layer_sizes(build(net, classes=classes, shape=shape, mean=(0.5,), std=(0.5,), generator=torch.Generator()), shape)


def _history(store: Store, t: Task) -> list[tuple[float, dict[str, int] | None]]:
    """When which masks were in force, as shares of the run."""
    if t.job.ticket is None:
        return [(0.0, None)]
    names = list(store.results(t)["layers"])
    steps = store.results(t)["steps"]
    return [(row[0] / steps, dict(zip(names, map(int, row[1:]), strict=True))) for row in store.arrays(t)["counts"] if row[0] < steps]


def training_cost(store: Store, t: Task, accounting: str) -> float:
    """Operations of a finished run, evaluation left out. The paper charges Robust Bird all epochs of its search, whenever that ended."""
    run: Train = t.job
    attack = attack_of(run.loss)
    steps = 0 if attack is None else getattr(attack, "steps", 1)
    whole = accounting == "paper" and isinstance(run.method, BirdSearch)
    return training_flops(
        layers(run), _history(store, t), images=run.data.n_train or run.data.role.n_train,
        epochs=run.epochs if whole else store.results(t)["epochs"],
        attack_steps=steps, accounting=accounting, dense_gradient_images=store.results(t)["method"].get("updates", 0) * run.batch,
    )  # fmt: skip


def row_values(store: Store, row: Row, seed: int) -> dict[str, float]:
    """All metrics of one row and seed, by the names that the papers' numbers have in results/reported. Percent, or as named."""
    t = task(row.run, seed)
    clean, robust = store.results(task(row.clean, seed)), store.results(task(row.robust, seed))
    best, final = robust["best_ra/test"]["accuracy"], robust["final/test"]["accuracy"]
    best_sa, final_sa = clean["best_ra/test"]["accuracy"], clean["final/test"]["accuracy"]
    results = store.results(t)
    values = {
        "robust_accuracy_best": best,
        "robust_accuracy_final": final,
        "robust_accuracy_diff": best - final,
        "standard_accuracy_best": best_sa,
        "standard_accuracy_final": final_sa,
        "standard_accuracy_diff": best_sa - final_sa,
        "robust_generalization_gap": robust["final/train"]["accuracy"] - final,
        "final_density_percent": 100 * results["density"],
        "lr_times_decay": results["lr_times_decay"],
        "best_epoch": results["checkpoints"]["best_ra"]["epoch"],
        "train_seconds": store.summary(t)["cost"]["wall_seconds"],
        "peak_memory_mib": store.summary(t)["cost"]["peak_memory_bytes"] / 2**20,
    }
    for accounting, name in (("paper", ""), ("exact", "_exact")):
        total = sum(training_cost(store, task(j, seed), accounting) for j in (row.run, *row.costs.values()))
        values[f"training_flops{name}_e17"] = total / 1e17
        values[f"inference_flops{name}_e9"] = inference_flops(layers(row.run), _history(store, t)[-1][1], accounting) / 1e9
    return values


def frame(store: Store, rows: Iterable[Row], seeds: Sequence[int], *, paper: str, exhibit: str) -> pd.DataFrame:
    """Tidy results of `rows`: one line a row, metric and seed. Seeds that are not done in *every* row are left out.

    Half a comparison is no comparison: methods are compared on the seeds that all of them have. Raises :class:`Missing` if there is none.
    """
    rows = list(rows)
    found, missing = [], None
    for seed in seeds:
        try:
            found.append([(row, seed, row_values(store, row, seed)) for row in rows])
        except Missing as e:
            missing = e
    if not found:
        raise missing
    lines = [
        {"paper": paper, "exhibit": exhibit} | row.labels() | {"metric": metric, "seed": seed, "value": value}
        for group in found
        for row, seed, values in group
        for metric, value in values.items()
    ]
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    return pd.concat([table, _reductions(table)], ignore_index=True)


def _reductions(table: pd.DataFrame) -> pd.DataFrame:
    """How much smaller each row's gap is than the dense gap of the same seed."""
    gaps = table[table.metric == "robust_generalization_gap"]
    if not (gaps.setting == "Baseline").any():
        return table[:0]
    dense = gaps[gaps.setting == "Baseline"].set_index(["dataset", "architecture", "seed"]).value
    sparse = gaps[gaps.setting != "Baseline"].copy()
    base = dense.reindex(pd.MultiIndex.from_frame(sparse[["dataset", "architecture", "seed"]])).to_numpy()
    return sparse.assign(metric="robust_generalization_gap_reduction", value=base - sparse.value)


def images(store: Store, rows: Iterable[Row], seeds: Sequence[int]) -> dict[tuple[str, float, str], np.ndarray]:
    """Which test images were right: (setting, sparsity, metric) -> bool array (seeds, images)."""
    found = {}
    for row in rows:
        for job, name in ((row.robust, "robust"), (row.clean, "standard")):
            for place, metric in (("best_ra/test", "best"), ("final/test", "final")):
                arrays = []
                for seed in seeds:
                    t = task(job, seed)
                    n = store.results(t)[place]["images"]
                    arrays.append(np.unpackbits(store.arrays(t)[f"correct/{place}"], count=n).astype(bool))
                found[row.setting, row.sparsity_percent, f"{name}_accuracy_{metric}"] = np.array(arrays)
    return found
