"""Training curves of Flying Bird+ with the moments at which its controller steps in."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

CURVES = {
    "train_ra": ("#000000", "-.", "robust accuracy, running train"),
    "val_ra": ("#0072b2", "-", "robust accuracy, validation"),
    "val_sa": ("#56b4e9", "--", "standard accuracy, validation"),
}
DENSITY = ("#9467bd", "density (right axis)")
KINDS = {
    "prune": ("#c1272d", (0, (1, 1.6)), "v", -0.24, "more pruning"),
    "growth": ("#1a8f3c", (0, (5, 2)), "^", 0.24, "more growth"),
}
"""Of each kind of boost: the paper's colour, a dash pattern and a marker for those who cannot tell red from green, an offset in epochs."""


def training_curve(data: pd.DataFrame, boosts: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracies of one run over epochs, vertical lines in epochs with boosts, density on a second axis, which is returned.

    `data`: columns epoch, train_ra, val_ra, val_sa, density, all in percent; `boosts`: columns epoch, kind. Lines of the two kinds stand
    beside each other where both hold in one epoch.
    """
    for kind, (colour, dash, _, offset, _) in KINDS.items():
        for epoch in boosts[boosts.kind == kind].epoch.unique():
            ax.axvline(epoch + offset, color=colour, linestyle=dash, linewidth=1.1, alpha=0.8, label=f"_{kind}", zorder=1)
    for column, (colour, dash, _) in CURVES.items():
        ax.plot(data.epoch, data[column], color=colour, linestyle=dash, linewidth=1.8, label=f"_{column}", zorder=3)
    right = ax.twinx()
    right.step(data.epoch, data.density, where="mid", color=DENSITY[0], linewidth=2.2, label="_density")
    right.set_ylim(0, 1.25 * data.density.max())
    right.tick_params(axis="y", colors=DENSITY[0])
    right.spines["right"].set(visible=True, color=DENSITY[0])
    right.grid(False)
    ax.set_xlim(0.4, data.epoch.max() + 0.6)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return right


def raster(boosts: pd.DataFrame, seeds: list[int], ax: Axes) -> Axes:
    """A row a seed, a mark in every epoch with boosts: triangles down for pruning, up for growth. `boosts`: columns seed, epoch, kind."""
    place = {seed: n for n, seed in enumerate(seeds)}
    for kind, (colour, _, marker, offset, _) in KINDS.items():
        mine = boosts[boosts.kind == kind]
        size = 4.6 if len(seeds) <= 8 else 3.6
        ax.plot(mine.epoch + offset, mine.seed.map(place), marker, color=colour, markersize=size, linestyle="", label=f"_{kind}")
    every = max(1, -(-len(seeds) // 8))
    ax.set_yticks(range(0, len(seeds), every), [str(s) for s in seeds[::every]])
    ax.set_ylim(len(seeds) - 0.4, -0.6)
    return ax


def training_curves(data: pd.DataFrame, boosts: pd.DataFrame) -> Figure:
    """Figure A11 of A: initial sparsities side by side, the first seed's training curves above, the boosts of every seed below."""
    levels, seeds = sorted(data.sparsity_percent.unique()), sorted(int(s) for s in data.seed.unique())
    heights = (3.2, 0.7 + 0.13 * min(len(seeds), 20))
    figure, axes = plt.subplots(
        2, len(levels), figsize=(5 * len(levels), sum(heights) + 1.4), sharex="col", squeeze=False, layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    top = 1.04 * max(data[c].max() for c in CURVES)
    for n, level in enumerate(levels):
        mine, marks = data[data.sparsity_percent == level], boosts[boosts.sparsity_percent == level]
        above, below = axes[:, n]
        right = training_curve(mine[mine.seed == seeds[0]], marks[marks.seed == seeds[0]], above)
        raster(marks, seeds, below)
        above.set_title(f"{level:g} % initial sparsity, seed {seeds[0]}", fontsize=10)
        above.set_ylim(0, top)
        below.set_xlabel("epoch")
        if n == 0:
            above.set_ylabel("accuracy (%)")
            below.set_ylabel("seed")
        if n == len(levels) - 1:
            right.set_ylabel("density (%)", color=DENSITY[0])
    figure.align_ylabels(axes[:, 0])
    figure.legend(handles=legend(), loc="outside lower center", ncols=3)
    return figure


def legend() -> list[Line2D]:
    """What the lines and marks of :func:`training_curves` mean."""
    lines = [Line2D([], [], color=colour, linestyle=dash, linewidth=1.8, label=label) for colour, dash, label in CURVES.values()]
    lines.append(Line2D([], [], color=DENSITY[0], linewidth=2.2, label=DENSITY[1]))
    marks = KINDS.values()
    return [*lines, *(Line2D([], [], color=c, linestyle=d, marker=m, linewidth=1.1, label=label) for c, d, m, _, label in marks)]
