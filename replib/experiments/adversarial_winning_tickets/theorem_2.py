"""Theorem 2 in numbers: its bound, its terms and what it bounds, for perceptrons of growing width. Ours, not the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from replib.analysis.dynamics import Dynamics
from replib.data import Data
from replib.experiments.adversarial_winning_tickets.runs import PAPER
from replib.experiments.exhibit import Exhibit
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.spec import Job, task
from replib.store.evidence import Reader

PLACE = ("MNIST", "perceptron")
SETTINGS: dict[str, dict[str, Any]] = {
    "magnitude at initialization": {"structure": "magnitude"},
    "random structure": {"structure": "random"},
    "AWT": {"structure": "searched"},
    "AWT, transferred weights": {"structure": "transferred"},
    "AWT, transferred weights, γ² = 1": {"structure": "transferred", "gamma_squared": 1.0},
}
"""Sparse networks by what they are called. In equation 13 the weight of kernels is 10⁻³; beside it 1, which the theorem allows as well."""
WIDTHS, DENSITY = (32, 64, 128, 256), 0.2
TERMS = (
    "alpha", "attack_term", "bound", "certified_bound", "lemma_bound", "horizon", "learned_by_horizon", "distance_at_horizon", "learned",
)  # fmt: skip
LARGEST = ("output_distance", "attack_change")
FIRST = ("target_distance", "kernel_distance")
LAST = ("dense_drift", "sparse_drift", "kernel_distance")


def networks(p: Profile) -> dict[tuple[str, int], Dynamics]:
    """Pairs of a dense and a sparse perceptron by setting and width; the same in every profile but the one that only tests."""
    few = {"images": 6, "steps": 6, "logged": 3, "searching": 41} if p.tiny else {}
    widths = (8, 16) if p.tiny else WIDTHS
    return {(s, n): Dynamics(Data("mnist14"), n, density=DENSITY, **which, **few) for s, which in SETTINGS.items() for n in widths}


def jobs(p: Profile) -> list[Job]:
    """Every pair, trained side by side."""
    return list(networks(p).values())


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """By setting and width the terms of the bound, the largest distance of outputs, the largest change by an attack, how far kernels had
    moved at the end, and both distances of the objective before the first step; "distance_over_time" for every time that was logged."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "theorem_2", PLACE, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for (setting, width), job in networks(p).items():
        found, table = reader.results(task(job, seed)), reader.table(task(job, seed))
        values = {name: found[name] for name in TERMS} | {name: found["largest"][name] for name in LARGEST}
        values |= {name: float(table[name].iloc[-1]) for name in LAST}
        values |= {f"{name}_start": float(table[name].iloc[0]) for name in FIRST}
        values["violated"] = float(found["beyond"] is not None)
        line = {"setting": setting, "sparsity_percent": 100 * (1 - job.density), "seed": seed}
        for metric, value in values.items():
            yield line | {"variant": f"width={width}", "metric": metric, "value": value}
        for time, value in zip(table.time, table.output_distance, strict=True):
            yield line | {"variant": f"width={width}; time={time:g}", "metric": "distance_over_time", "value": float(value)}


EXHIBIT = Exhibit(f"{PAPER}/theorem_2", "How far apart dense and sparse outputs drift", jobs, read)
