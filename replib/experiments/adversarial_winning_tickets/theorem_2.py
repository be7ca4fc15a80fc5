"""Theorem 2 in numbers: its bound, its terms and what it bounds, for perceptrons of growing width. Ours, not the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import pandas as pd

from replib.analysis.dynamics import Dynamics, Structure
from replib.data import Data
from replib.experiments.adversarial_winning_tickets.runs import PAPER
from replib.experiments.exhibit import Exhibit
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.spec import Job, task
from replib.store.evidence import Reader

PLACE = ("MNIST", "perceptron")
SETTINGS = {
    "magnitude": "magnitude at initialization", "random": "random structure", "searched": "AWT", "transferred": "AWT, transferred weights",
}  # fmt: skip
WIDTHS, DENSITY = (32, 64, 128, 256), 0.2
TERMS = (
    "alpha", "attack_term", "bound", "certified_bound", "lemma_bound", "horizon", "learned_by_horizon", "distance_at_horizon", "learned",
)  # fmt: skip
LARGEST = ("output_distance", "attack_change")
LAST = ("dense_drift", "sparse_drift", "kernel_distance")


def networks(p: Profile) -> dict[tuple[Structure, int], Dynamics]:
    """Pairs of a dense and a sparse perceptron by structure and width; the same in every profile but the one that only tests."""
    few = {"images": 6, "steps": 6, "logged": 3, "searching": 5} if p.tiny else {}
    widths = (8, 16) if p.tiny else WIDTHS
    return {(s, n): Dynamics(Data("mnist14"), n, s, DENSITY, **few) for s in get_args(Structure) for n in widths}


def jobs(p: Profile) -> list[Job]:
    """Every pair, trained side by side."""
    return list(networks(p).values())


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """By structure and width the terms of the bound, the largest distance of outputs, the largest change by an attack, and how far kernels
    had moved at the end; "distance_over_time" for every time that was logged."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "theorem_2", PLACE, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for (structure, width), job in networks(p).items():
        found, table = reader.results(task(job, seed)), reader.table(task(job, seed))
        values = {name: found[name] for name in TERMS} | {name: found["largest"][name] for name in LARGEST}
        values |= {name: float(table[name].iloc[-1]) for name in LAST}
        values["violated"] = float(found["beyond"] is not None)
        line = {"setting": SETTINGS[structure], "sparsity_percent": 100 * (1 - job.density), "seed": seed}
        for metric, value in values.items():
            yield line | {"variant": f"width={width}", "metric": metric, "value": value}
        for time, value in zip(table.time, table.output_distance, strict=True):
            yield line | {"variant": f"width={width}; time={time:g}", "metric": "distance_over_time", "value": float(value)}


EXHIBIT = Exhibit(f"{PAPER}/theorem_2", "How far apart dense and sparse outputs drift", jobs, read)
