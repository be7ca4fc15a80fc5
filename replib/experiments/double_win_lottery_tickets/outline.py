"""Figure 1: the outline of the paper. No runs: its numbers are the settings of the profile."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from replib.experiments.double_win_lottery_tickets.curves import FRACTIONS, TARGETS
from replib.experiments.double_win_lottery_tickets.runs import PAPER, PRE_TRAININGS, Downstream, percent, recipe
from replib.experiments.exhibit import drawing
from replib.experiments.profiles import Profile


@dataclass(frozen=True)
class Outline:
    """What the drawing says: pre-trainings, sparsities of the masks in percent, and images of each downstream set by part."""

    pre_trainings: tuple[str, ...]
    levels: tuple[float, ...]
    images: dict[str, dict[str, int]]


def outline(p: Profile) -> Outline:
    """The settings of a profile."""
    images: dict[str, dict[str, int]] = {}
    for where in TARGETS:
        data = {fraction: recipe(p, Downstream(where, fraction=fraction)).data for fraction in FRACTIONS}
        images[where[0]] = {fraction: d.images("train") for fraction, d in data.items()}
    return Outline(PRE_TRAININGS, tuple(map(percent, p.transfer.rounds)), images)


def table(o: Outline) -> pd.DataFrame:
    """Training images by downstream set and part: dataset, part, images."""
    return pd.DataFrame([(d, part, n) for d, sizes in o.images.items() for part, n in sizes.items()], columns=["dataset", "part", "images"])


EXHIBIT = drawing(f"{PAPER}/figure_1", "Outline: tickets of pre-trained networks, transferred")
