"""Rows of accuracy tables: the jobs behind each number, and the numbers as one tidy frame."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from replib.analysis.evaluation import Evaluate
from replib.attacks.spec import Attack
from replib.experiments.cost import operations
from replib.methods import BirdSearch, MaskSearch, Searched, Ticket
from replib.models import Net
from replib.models.build import build
from replib.sparsity.flops import inference_flops, layer_sizes, training_flops
from replib.spec import Job, Task, task
from replib.store import Missing
from replib.store.evidence import Reader
from replib.training.losses import attack_of, replays
from replib.training.spec import Distill, Train

COLUMNS = ("paper", "exhibit", "dataset", "architecture", "sparsity_percent", "setting", "variant", "metric", "seed", "value")


@dataclass(frozen=True)
class Line(ABC):
    """One row of a table of accuracies: what the paper calls it, the run, the attack, and the jobs whose training cost belongs to it too.

    What is measured of the run, and where, is for each paper's kind of row to say: its jobs, the numbers that are read from them, and
    which test images were right, by the names of the metrics.
    """

    dataset: str
    architecture: str
    sparsity_percent: float
    setting: str
    run: Train
    attack: Attack
    costs: Mapping[str, Job] = field(default_factory=dict)
    variant: str = ""

    @abstractmethod
    def jobs(self) -> list[Job]:
        """Everything that the row's numbers are read from."""

    @abstractmethod
    def values(self, reader: Reader, seed: int) -> dict[str, float]:
        """All metrics of a seed, by the names that the papers' numbers have in results/reported. Percent, or as named."""

    @abstractmethod
    def correct(self, reader: Reader, seed: int) -> dict[str, np.ndarray]:
        """Which test images were right, as bools by metric."""

    def labels(self) -> dict[str, Any]:
        """The identifying columns of the row."""
        return {
            "dataset": self.dataset,
            "architecture": self.architecture,
            "sparsity_percent": self.sparsity_percent,
            "setting": self.setting,
            "variant": self.variant,
        }


@dataclass(frozen=True)
class Row(Line):
    """A row of A: standard and robust accuracy at the best and at the final epoch, and the robust generalization gap."""

    checkpoints: tuple[str, str] = ("best_ra", "final")
    surrogate: Train | None = None  # whose images are shown to the run's network ...
    crafted_here: bool = False  # ... or the other way round
    images: int | None = None  # of each split, where an attack is too dear for all

    @property
    def places(self) -> dict[str, str]:
        """Where "best", "final" and "train" (the final network on training images) are measured."""
        best, final = self.checkpoints
        return {"best": f"{best}/test", "final": f"{final}/test", "train": f"{final}/train"}

    @property
    def clean(self) -> Evaluate:
        """Standard accuracy."""
        return Evaluate(self.run, None, (self.places["best"], self.places["final"]))

    @property
    def robust(self) -> Evaluate:
        """Robust accuracy, also on the training images."""
        return Evaluate(self.run, self.attack, tuple(self.places.values()), self.surrogate, self.crafted_here, self.images)

    def jobs(self) -> list[Job]:
        """Everything that the row's numbers are read from."""
        return [self.run, self.clean, self.robust, *self.costs.values()]

    def values(self, reader: Reader, seed: int) -> dict[str, float]:
        return row_values(reader, self, seed)

    def correct(self, reader: Reader, seed: int) -> dict[str, np.ndarray]:
        return {
            f"{name}_accuracy_{metric}": right(reader, task(job, seed), self.places[metric])
            for job, name in ((self.robust, "robust"), (self.clean, "standard"))
            for metric in ("best", "final")
        }


def right(reader: Reader, t: Task, place: str) -> np.ndarray:
    """Which images an evaluation found right at a place, (N,) bools."""
    n = reader.results(t)[place]["images"]
    return np.unpackbits(reader.arrays(t)[f"correct/{place}"], count=n).astype(bool)


def layers(run: Train | Ticket) -> dict[str, Any]:
    """Sizes of the layers of the job's network by parameter name."""
    return _layers(run.net, run.data.role.classes, tuple(run.data.shape))


@functools.cache
def _layers(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, Any]:
    return layer_sizes(build(net, classes=classes, shape=shape, mean=(0.5,), std=(0.5,), generator=torch.Generator()), shape)


def _history(reader: Reader, t: Task) -> list[tuple[float, dict[str, int] | None]]:
    """When which masks were in force, as shares of the run."""
    if t.job.ticket is None:
        return [(0.0, None)]
    sizes, convolutions_only = layers(t.job), getattr(t.job.ticket, "scope", "all") == "conv"
    names = [n for n in reader.results(t)["layers"] if sizes[n].conv or not convolutions_only]
    steps = reader.results(t)["steps"]
    return [(row[0] / steps, dict(zip(names, map(int, row[1:]), strict=True))) for row in reader.arrays(t)["counts"] if row[0] < steps]


def training_cost(reader: Reader, t: Task, accounting: str, density: float | None = None) -> float:
    """Operations of a finished run or mask search, evaluation left out.

    The paper charges Robust Bird all epochs of its search, whenever that ended. Counted exactly, a search pays until it had the ticket of
    `density`; others that it looks for may take longer.
    """
    if isinstance(t.job, MaskSearch):
        whole = layers(t.job)
        return operations(t) * inference_flops(whole, None, accounting) / inference_flops(whole, None, "exact")
    run: Train = t.job
    attack = attack_of(run.loss)
    steps = 0 if attack is None else getattr(attack, "steps", 1)
    epochs = reader.results(t)["epochs"]
    if isinstance(run.method, BirdSearch):
        trigger = reader.results(t)["method"]["trigger"].get(f"{density:g}") if density else None
        epochs = run.epochs if accounting == "paper" else trigger or epochs
    images = run.data.images("train")
    taught = 2 * images * epochs * inference_flops(layers(run), None, accounting) if isinstance(run.loss, Distill) else 0.0
    return taught + training_flops(
        layers(run), _history(reader, t), images=images,
        epochs=replays(run.loss) * epochs,
        attack_steps=steps, accounting=accounting, dense_gradient_images=reader.results(t)["method"].get("updates", 0) * run.batch,
    )  # fmt: skip


def row_values(reader: Reader, row: Row, seed: int) -> dict[str, float]:
    """All metrics of one row and seed, by the names that the papers' numbers have in results/reported. Percent, or as named."""
    t = task(row.run, seed)
    at = row.places
    clean, robust = reader.results(task(row.clean, seed)), reader.results(task(row.robust, seed))
    best, final = robust[at["best"]]["accuracy"], robust[at["final"]]["accuracy"]
    best_sa, final_sa = clean[at["best"]]["accuracy"], clean[at["final"]]["accuracy"]
    results = reader.results(t)
    values = {
        "robust_accuracy_best": best,
        "robust_accuracy_final": final,
        "robust_accuracy_diff": best - final,
        "standard_accuracy_best": best_sa,
        "standard_accuracy_final": final_sa,
        "standard_accuracy_diff": best_sa - final_sa,
        "robust_generalization_gap": robust[at["train"]]["accuracy"] - final,
        "final_density_percent": 100 * results["density"],
        "lr_times_decay": results["lr_times_decay"],
        "best_epoch": results["checkpoints"][row.checkpoints[0]]["epoch"],
        "train_seconds": reader.summary(t)["cost"]["wall_seconds"],
        "processor_seconds": sum(reader.summary(task(j, seed))["cost"]["cpu_seconds"] for j in (row.run, *row.costs.values())),
        "peak_memory_mib": reader.summary(t)["cost"]["peak_memory_bytes"] / 2**20,
    }
    for accounting, name in (("paper", ""), ("exact", "_exact")):
        density = searched_density(row)
        total = sum(training_cost(reader, task(j, seed), accounting, density) for j in (row.run, *row.costs.values()))
        values[f"training_flops{name}_e17"] = total / 1e17
        values[f"inference_flops{name}_e9"] = inference_flops(layers(row.run), _history(reader, t)[-1][1], accounting) / 1e9
    trained = [j for j in (row.run, *row.costs.values()) if isinstance(j, Train)]
    values["collapsed"] = float(any(reader.results(task(j, seed))["collapsed"] for j in trained))
    return values | _settling(reader, row, seed) | _top_layers(reader, row, seed)


def searched_density(row: Row) -> float | None:
    """The density whose ticket the row's run got from a search; None for other rows."""
    drawn = row.run.ticket
    return drawn.density if isinstance(drawn, Ticket) and isinstance(drawn.rule, Searched) else None


def top_layer_density(kept: Mapping[str, int], sizes: Mapping[str, int]) -> float:
    """Share of weights kept in the last stage and the classifier together."""
    last = max(n.split(".")[1] for n in sizes if n.startswith("stages."))
    top = [n for n in sizes if n.startswith((f"stages.{last}.", "fc."))]
    return sum(kept[n] for n in top) / sum(sizes[n] for n in top)


def _top_layers(reader: Reader, row: Row, seed: int) -> dict[str, float]:
    """Of rows that differ in their initial mask: how dense it is at the top."""
    if not row.variant.startswith("sparse_initialization="):
        return {}
    found = reader.results(task(row.run.ticket, seed))
    return {"top_layer_density": top_layer_density(found["kept"], found["sizes"])}


def _settling(reader: Reader, row: Row, seed: int) -> dict[str, float]:
    """When the row's search took its ticket, as a share of the full schedule (1: it never settled), and the earliest it could have."""
    density = searched_density(row)
    if density is None:
        return {}
    found = row.costs["search"]
    epoch = reader.results(task(found, seed))["method"]["trigger"][f"{density:g}"]
    earliest = (found.method.queue + 1) / row.run.epochs
    return {"mask_settled_share": epoch / row.run.epochs if epoch else 1.0, "mask_settled_earliest": earliest}


def complete(reader: Reader, jobs: Sequence[Job], seeds: Sequence[int]) -> list[int]:
    """The seeds of which all `jobs` are done; raises :class:`Missing` for the first one wanting if there is none.

    Half a comparison is no comparison: methods are compared on the seeds that all of them have.
    """
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


def tidy(paper: str, exhibit: str, where: tuple[str, str], lines: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Lines with setting, metric, seed and value (and what else differs) as a frame with the columns of all results."""
    base = {"paper": paper, "exhibit": exhibit, "dataset": where[0], "architecture": where[1], "variant": ""}
    return pd.DataFrame([base | dict(line) for line in lines], columns=list(COLUMNS))


def frame(reader: Reader, rows: Iterable[Line], seeds: Sequence[int], *, paper: str, exhibit: str) -> pd.DataFrame:
    """Tidy results of `rows`: one line a row, metric and seed. Seeds that are not done in *every* row are left out.

    Raises :class:`Missing` if there is none.
    """
    rows = list(rows)
    lines = [
        {"paper": paper, "exhibit": exhibit} | row.labels() | {"metric": metric, "seed": seed, "value": value}
        for seed in complete(reader, [job for row in rows for job in row.jobs()], seeds)
        for row in rows
        for metric, value in row.values(reader, seed).items()
    ]
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    return pd.concat([table, _reductions(table)], ignore_index=True)


def _reductions(table: pd.DataFrame) -> pd.DataFrame:
    """How much smaller each row's gap is than the dense gap of the same seed and, where the dense row has one, variant."""
    gaps = table[table.metric == "robust_generalization_gap"]
    dense, sparse = gaps[gaps.setting == "Baseline"], gaps[gaps.setting != "Baseline"]
    if dense.empty or sparse.empty:
        return table[:0]
    by = ["dataset", "architecture", "seed"] + ["variant"] * bool(dense.variant.ne("").any())
    base = dense.set_index(by).value.reindex(pd.MultiIndex.from_frame(sparse[by])).to_numpy()
    return sparse.assign(metric="robust_generalization_gap_reduction", value=base - sparse.value)


def images(reader: Reader, rows: Iterable[Line], seeds: Sequence[int]) -> dict[tuple[str, str, str, str, float, str], np.ndarray]:
    """Which test images were right: (data set, network, variant, setting, sparsity, metric) -> bool array (seeds, images)."""
    found = {}
    for row in rows:
        by_seed = [row.correct(reader, seed) for seed in seeds]
        for metric in by_seed[0] if by_seed else ():
            which = (row.dataset, row.architecture, row.variant, row.setting, row.sparsity_percent)
            found[*which, metric] = np.array([correct[metric] for correct in by_seed])
    return found
