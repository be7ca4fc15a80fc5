"""Figure 9: how much the error rises when a sparse and the dense network are grafted onto each other, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from replib.analysis.grafting import Grafting
from replib.experiments.adversarial_winning_tickets.rows import Subnetwork
from replib.experiments.adversarial_winning_tickets.runs import PAPER
from replib.experiments.adversarial_winning_tickets.searches import attack
from replib.experiments.adversarial_winning_tickets.tables import RANDOM, ladder, subnetwork
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CNN_MNIST
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.spec import Job, task
from replib.store.evidence import Reader

METRICS = {
    "error_increase": ("natural", "over_upper"),
    "error_increase_over_better": ("natural", "over_better"),
    "adversarial_error_increase": ("adversarial", "over_upper"),
    "adversarial_error_increase_over_better": ("adversarial", "over_better"),
}
"""Metrics of the exhibit by kind of error and by what it is compared with: the network whose upper layers the graft has, or the better one.

Departs: D names neither; the claim is read on natural images and against the upper network, "grafted onto" which the other is.
"""


TWIN = "full model, other random numbers"


def rows(p: Profile) -> list[Subnetwork]:
    """Tickets and random structures at the densities that are grafted, and two dense networks last.

    Ours: the first of these differs from the other in nothing but the order of images and the attacks' random starts. How much worse grafts
    of the two are is what training does without any mask.
    """
    *sparse, dense = ladder(p, CNN_MNIST, p.foresight.grafted, beside=(RANDOM,))
    twin = subnetwork(p, CNN_MNIST, TWIN, 1.0, replace(dense.run, repeat=1, name=TWIN))
    return [*sparse, twin, dense]


def grafts(p: Profile) -> list[tuple[Subnetwork, Grafting]]:
    """Each network's grafts with the dense one, at evenly spaced epochs."""
    *others, dense = rows(p)
    f, length = p.foresight, dense.run.epochs
    moments = tuple(dict.fromkeys(max(1, round(length * n / f.grafts)) for n in range(1, f.grafts + 1)))
    kept = {"retain": ("weights",)}
    return [
        (
            row,
            Grafting(
                replace(dense.run, **kept), replace(row.run, **kept), attack(p, CNN_MNIST, f.graft_steps), moments, f.graft_images
            ),
        )
        for row in others
    ]  # fmt: skip


def jobs(p: Profile) -> list[Job]:
    """The grafts."""
    return [job for _, job in grafts(p)]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Mean increase of error over epochs, inner cuts and both ways round, in points."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_9", CNN_MNIST, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for row, job in grafts(p):
        found = reader.results(task(job, seed))
        for metric, (kind, against) in METRICS.items():
            yield row.labels() | {"seed": seed, "metric": metric, "value": found[kind][against]}


def errors(r: Any) -> pd.DataFrame:
    """Increase of error over the upper network by setting, density, seed, epoch, lower parent and cut, in points, inner cuts only."""
    found = [(row, seed, r.evidence.table(task(job, seed))) for row, job in grafts(r.profile) for seed in r.seeds]
    return pd.concat([_increases(table).assign(**row.labels(), seed=seed) for row, seed, table in found], ignore_index=True)


def _increases(table: pd.DataFrame) -> pd.DataFrame:
    whole = table[table.cut == 0].set_index(["epoch", "lower"])  # nothing of the lower network: the upper one
    inner = table[table.cut.between(1, table.cut.max() - 1)]
    upper = whole.loc[pd.MultiIndex.from_frame(inner[["epoch", "lower"]])]
    rise = {kind: inner[f"{kind}_error"].to_numpy() - upper[f"{kind}_error"].to_numpy() for kind in ("natural", "adversarial")}
    return inner[["epoch", "lower", "cut"]].assign(**rise)


EXHIBIT = Exhibit(f"{PAPER}/figure_9", "Grafting sparse networks and the dense one onto each other", jobs, read)
