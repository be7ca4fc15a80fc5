"""Figure 2: the schematic of the three methods. No runs: its numbers are the settings of the profile."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from types import SimpleNamespace

import pandas as pd

from replib.experiments.exhibit import drawing
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.sparsity_winning_twice.runs import DENSITIES, PAPER, row, search
from replib.methods import FlyingBirdPlus
from replib.methods.flying_bird import swap_ratio


@dataclass(frozen=True)
class Update:
    """One change of the mask: when, in epochs of adversarial training, and the share of each layer's active weights that is exchanged.

    `low` and `high` bound the density of Flying Bird+ after it: every update so far with its pruning boosted, or with its growth.
    """

    epoch: float
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Schedule:
    """What the schematic draws: lengths in epochs, densities as kept shares."""

    density: float
    epochs: int
    search_epochs: int  # at most
    earliest: int  # epoch of the search after which a ticket can be drawn
    queue: int
    tau: float
    relative: bool  # tau is a share of the distance of independent masks
    awake: int  # epochs of adversarial training after which Flying Bird+'s controller may step in
    window: int
    enough: int  # rises among the last `window` differences that make it step in
    delta_p: float
    delta_g: float
    updates: tuple[Update, ...]


def updates(method: FlyingBirdPlus, density: float, steps_per_epoch: int, epochs: int) -> tuple[Update, ...]:
    """Every update of a run, with the reach of its controller. Whole numbers of weights are not regarded."""
    total, found, low, high = steps_per_epoch * epochs, [], density, density
    for step in range(1, total + 1):
        if step % method.every(SimpleNamespace(step=step, total_steps=total)):
            continue
        k, done = swap_ratio(step, total, method.k_first, method.k_last), (step - 1) // steps_per_epoch
        if done >= awake(method, epochs):
            low, high = low * (1 - method.delta_p * k), high * (1 + method.delta_g * k)
        found.append(Update(step / steps_per_epoch, k, low, high))
    return tuple(found)


def awake(method: FlyingBirdPlus, epochs: int) -> int:
    """Finished epochs after which the controller may boost: from `t_start` on, and with a whole window of differences behind it."""
    return max(math.ceil(method.t_start * epochs - 1e-9), method.window + 1)


def schedule(p: Profile) -> Schedule:
    """The settings of the three methods in a profile, at the first of Table 1's sparsities."""
    recipe, density = p.recipe(*CIFAR10), DENSITIES[0]
    plus, finder = row(p, CIFAR10, "Flying Bird+", density).run, search(recipe, density)
    steps = -(-recipe.data.images("train") // plus.batch)
    method, watch = plus.method, finder.method
    enough = math.ceil(method.frequency * method.window - 1e-9)
    return Schedule(
        density, plus.epochs, finder.epochs, watch.queue + 1, watch.queue, watch.tau, watch.relative, awake(method, plus.epochs),
        method.window, enough, method.delta_p, method.delta_g, updates(method, density, steps, plus.epochs),
    )  # fmt: skip


def table(s: Schedule) -> pd.DataFrame:
    """The updates as data: epoch, share exchanged, and the bounds of Flying Bird+'s density after each; shares, not percent."""
    return pd.DataFrame([asdict(u) for u in s.updates], columns=[f.name for f in fields(Update)])


EXHIBIT = drawing(f"{PAPER}/figure_2", "Outline of Robust Bird, Flying Bird and Flying Bird+")
