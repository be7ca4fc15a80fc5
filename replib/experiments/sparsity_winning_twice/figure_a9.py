"""Figure A9: loss surfaces of a dense network, a random subnetwork and a Robust Bird ticket before they are robustified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from replib.analysis.curvature import Curvature
from replib.analysis.landscape import Flatness, Landscape
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice import figure_5
from replib.experiments.sparsity_winning_twice.runs import PAPER, percent, search, ticket
from replib.methods import Random, Searched
from replib.spec import Job
from replib.store.evidence import Reader
from replib.training import FromRun, Train

DENSITY = 0.7
START = {"Baseline": 1.0, "Random Pruning": DENSITY, "Robust Bird": DENSITY}
"""Settings of the figure, in its order, and their density."""
STAGES = ("start", "drawn")
"""Whose weights are looked at. "start": those from which the second stage starts, the initial ones, pruned. "drawn": those at which the
search drew its ticket, pruned in the same way.
"""


def runs(p: Profile, stage: str) -> dict[str, Train]:
    """Runs whose checkpoint "initial" is looked at; one epoch, since a run has at least that."""
    recipe = p.recipe(*CIFAR10)
    found = search(recipe, DENSITY)
    tickets = {"Baseline": None, "Random Pruning": Random(), "Robust Bird": Searched(found)}
    weights = {} if stage == "start" else {"init": FromRun(found)}
    made = {}
    for name, rule in tickets.items():
        label = f"{name} at {percent(START[name]):g} %, {stage}, one epoch"
        made[name] = recipe.pgd_at(ticket=rule and ticket(recipe, DENSITY, rule), epochs=1, name=label, **weights)
    return made


def surface(p: Profile, run: Train, space: str) -> Landscape:
    """The surface that is drawn, as in Figure 5, at the start of the run."""
    return replace(figure_5.surface(p, run, space), checkpoint="initial")


def flatness(p: Profile, run: Train) -> Flatness:
    """How flat the losses are around the start of the run."""
    return replace(figure_5.measures(p, run)[0], checkpoint="initial")


def curvature(p: Profile, run: Train) -> Curvature:
    """How the losses bend around the start of the run."""
    return replace(figure_5.curvature(p, run), checkpoint="initial")


def jobs(p: Profile) -> list[Job]:
    """Two surfaces and the numbers of each network, by stage."""
    every = [run for stage in STAGES for run in runs(p, stage).values()]
    drawn = figure_5.SPACES
    return [job for run in every for job in (*(surface(p, run, space) for space in drawn), flatness(p, run), curvature(p, run))]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Rises in nats of both losses, mean over the radii and by radius, and both losses at the centre.

    The stage "start" has no word in the column variant; the other is "stage=drawn".
    """
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_a9", CIFAR10, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for stage in STAGES:
        for name, run in runs(p, stage).items():
            line = {"setting": name, "sparsity_percent": percent(START[name]), "seed": seed}
            rises = figure_5.flatness_lines(reader, flatness(p, run), None, seed)
            for more in (*rises, *figure_5.curvature_lines(reader, curvature(p, run), seed)):
                yield line | more | {"variant": (prefix(stage) + more.get("variant", "")).removesuffix("; ")}


def prefix(stage: str) -> str:
    """How variants of a stage begin; empty for the one that the claim is about."""
    return "" if stage == "start" else f"stage={stage}; "


def surfaces(r: Any, stage: str, space: str, seed: int) -> pd.DataFrame:
    """What Figure A9 draws for one seed: setting, space, seed, a, b (coordinates), loss in nats."""
    return figure_5.surface_rows(r, {name: surface(r.profile, run, space) for name, run in runs(r.profile, stage).items()}, seed)


def numbers(r: Any) -> pd.DataFrame:
    """Rows of the frame that the page tabulates, means over the radii, with a column stage."""
    means = r.frame[~r.frame.variant.str.contains("radius=")]
    return means.assign(stage=means.variant.map({prefix(stage).removesuffix("; "): stage for stage in STAGES}))


def rises(r: Any, stage: str) -> pd.DataFrame:
    """The rise of the clean loss by radius, every seed: setting, seed, radius, value; zero at radius zero."""
    return figure_5.rises(r, "loss_rise", prefix(stage))


def directions(r: Any, stage: str) -> pd.DataFrame:
    """Intervals over random directions of the rise of the clean loss; see :func:`figure_5.directions`."""
    return figure_5.directions(r, {name: flatness(r.profile, run) for name, run in runs(r.profile, stage).items()}, "clean")


def widths(r: Any, stage: str) -> pd.DataFrame:
    """Intervals over random directions of the width of the basin; see :func:`figure_5.widths`."""
    return figure_5.widths(r, {name: curvature(r.profile, run) for name, run in runs(r.profile, stage).items()})


EXHIBIT = Exhibit(f"{PAPER}/figure_a9", "Loss surfaces before robustification, dense and at 30 % sparsity", jobs, read)
