"""Figures 1 to 4: accuracy against size, and distributions of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.weights import Weights
from replib.experiments.achieving_robustness_via_sparsity.rows import Network
from replib.experiments.achieving_robustness_via_sparsity.runs import METHODS, PAPER, base, inherited, penalised, pruned, winning
from replib.experiments.achieving_robustness_via_sparsity.tables import SLIMMED, table_1, tickets
from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import CIFAR10, CIFAR100, VGG10, VGG100
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Compose, FromRun, Train


def figure_1(p: Profile) -> list[Network]:
    """The networks of Tables 1 and 3 on CIFAR-10: adversarial accuracy against the number of parameters."""
    once = [r for r in table_1(p) if r.dataset == CIFAR10[0] and r.checkpoint != "initial" and r.setting != SLIMMED]
    return [*once, *(r for where in (CIFAR10, VGG10) for r in tickets(p, where) if r.setting != "Baseline")]


@dataclass(frozen=True)
class Sampled:
    """A network whose weights are drawn: in which panel, where, at what sparsity, what the paper calls it, and the run."""

    panel: str
    where: tuple[str, str]
    ratio: float
    setting: str
    run: Train

    @property
    def weights(self) -> Weights:
        """Numbers and histogram of its weights."""
        return Weights(self.run)


def figure_2(p: Profile) -> list[Sampled]:
    """Each method at 60 %, the largest ratio of which the printed table has every method, with inherited and with new weights."""
    return [
        Sampled(f"{m} at 60 %", CIFAR10, 0.6, m if kept else f"{m}-rand", pruned(p, CIFAR10, m, 0.6, "Stop-E", inherit=kept))
        for m in METHODS
        for kept in (True, False)
    ]


def figure_3(p: Profile) -> list[Sampled]:
    """One-shot pruning beside the winning ticket at 90 %."""
    made = []
    for where in (CIFAR10, VGG10):
        name = ", ".join(where)
        made.append(Sampled(name, where, 0.9, "GUP", pruned(p, where, "GUP", 0.9, "Stop-E")))
        made.append(Sampled(name, where, 0.9, "Winning Ticket", winning(p, where, 0.9)[0]))
    return made


def figure_4(p: Profile) -> list[Sampled]:
    """Large networks from random weights and from a ticket of 80 %, both under Stop-E, and in panels of ours both under Stop-C: the paper
    does not say under which, and in a short run the inherited network of the former has shrunk least. The one with a sparsity penalty is
    ours too: Section 4.4 says that such a penalty "failed", and its weights say whether it had made the network sparse.

    Departs: the claim reads the networks under Stop-E, the rule that the paper's schedule of 120 + 45 epochs goes with.
    """
    made = []
    for where in (CIFAR10, VGG10, CIFAR100, VGG100):
        name = ", ".join(where)
        made.append(Sampled(name, where, 0.0, "Baseline", base(p, where)))
        made.append(Sampled(name, where, 0.8, "Inverse Weights Inheritance", inherited(p, where, 0.8, "Stop-E")[0]))
        if where == CIFAR10:
            made.append(Sampled(name, where, 0.0, "Sparsity penalty", penalised(p, where)))
        stalled = f"{name}, Stop-C"
        made.append(Sampled(stalled, where, 0.0, "Dense by Stop-C", base(p, where, "Stop-C")))
        made.append(Sampled(stalled, where, 0.8, "IWI by Stop-C", inherited(p, where, 0.8, "Stop-C")[0]))
    return made


METRICS = {
    "near_zero_share": "near_zero_0.001", "near_zero_share_loose": "near_zero_0.01", "mean_abs_weight": "mean_abs", "rms_weight": "rms",
    "sqrt_mean_weight": "sqrt_mean", "hoyer": "hoyer", "gini": "gini", "kurtosis": "kurtosis",
}  # fmt: skip
"""Numbers of a distribution by the names that the claims know. "Near zero" is a magnitude below 0.001."""


def distribution(name: str, title: str, samples: Callable[[Profile], list[Sampled]]) -> Exhibit:
    """An exhibit of distributions: their numbers over unpruned weights, raw and (metrics that begin with "folded_") with batch
    normalisation folded in."""

    def jobs(p: Profile) -> list[Job]:
        return [s.weights for s in samples(p)]

    def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
        done = complete(reader, jobs(p), seeds)
        frames = []
        for where in dict.fromkeys(s.where for s in samples(p)):
            mine = [s for s in samples(p) if s.where == where]
            frames.append(tidy(PAPER, name, where, (line for seed in done for s in mine for line in _lines(reader, s, seed))))
        return pd.concat(frames, ignore_index=True)

    return Exhibit(f"{PAPER}/{name}", title, jobs, read)


def _lines(reader: Reader, s: Sampled, seed: int) -> Iterator[dict[str, Any]]:
    found = reader.results(task(s.weights, seed))
    line = {"setting": s.setting, "sparsity_percent": round(100 * s.ratio, 6), "seed": seed}
    for prefix, part in (("", "raw"), ("folded_", "folded")):
        for metric, own in METRICS.items():
            yield line | {"metric": prefix + metric, "value": found[part][own]}
    yield line | {"metric": "lr_times_decay", "value": decayed(reader, s.run, seed)}


def decayed(reader: Reader, run: Train, seed: int) -> float:
    """Sum over steps of learning rate times weight decay, of the run and of those whose weights it inherited; of inverse inheritance the
    mean over weights, since those outside the ticket start anew."""
    own = reader.results(task(run, seed))["lr_times_decay"]
    if isinstance(run.init, Compose):
        return own + reader.results(task(run.init.ticket, seed))["density"] * decayed(reader, run.init.inside.run, seed)
    return own + (decayed(reader, run.init.run, seed) if isinstance(run.init, FromRun) else 0.0)


def histograms(reader: Reader, samples: Sequence[Sampled], seeds: Sequence[int]) -> list[tuple[Sampled, np.ndarray, np.ndarray]]:
    """Counts, summed over seeds, and edges of each network's histogram."""
    found = []
    for s in samples:
        arrays = [reader.arrays(task(s.weights, seed)) for seed in seeds]
        found.append((s, sum(a["raw/counts"] for a in arrays), arrays[0]["raw/edges"]))
    return found


SAMPLES = {"figure_2": figure_2, "figure_3": figure_3, "figure_4": figure_4}
EXHIBITS: tuple[Exhibit, ...] = (
    rows_exhibit(f"{PAPER}/figure_1", "Adversarial accuracy against the number of parameters", figure_1),
    distribution("figure_2", "Weights after retraining, inherited and new", figure_2),
    distribution("figure_3", "Weights of one-shot pruning and of winning tickets", figure_3),
    distribution("figure_4", "Weights of large networks with and without inheritance", figure_4),
)
