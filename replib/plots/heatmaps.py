"""Matrices as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SCALE = "viridis"


def epochs_against_epochs(data: pd.DataFrame, span: tuple[float, float], ax: Axes) -> Any:
    """Similarity of the masks of two regimes at all pairs of epochs; brighter is more alike (A, Figure A8). Returns the coloured mesh.

    `data`: columns first, second, epoch_first, epoch_second, similarity of one pair. As in the paper, epoch 1 is at the top.
    """
    table = data.pivot(index="epoch_first", columns="epoch_second", values="similarity")
    (low, high), every = span, -(-len(table) // 6)
    colours = {"vmin": low, "vmax": high, "cmap": SCALE, "cbar": False, "rasterized": True}
    sns.heatmap(table, square=True, xticklabels=every, yticklabels=every, ax=ax, **colours)
    ax.tick_params(rotation=0)
    ax.set(xlabel=f"epoch, {data['second'].iloc[0]}", ylabel=f"epoch, {data['first'].iloc[0]}")
    return ax.collections[0]


def mask_similarity(data: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Figure:
    """One matrix a pair in rows of three, one colour scale from just below chance to 1, chance marked on its bar."""
    chance = float(data.chance.iloc[0])
    low = min(chance, float(data.similarity.min()))
    span = (low - 0.08 * (1 - low), 1.0)  # so that the mark of chance lies within the bar
    across = 3
    rows = -(-len(pairs) // across)
    figure, axes = plt.subplots(rows, across, figsize=(9.8, 3.2 * rows), squeeze=False, layout="compressed")
    for ax, (first, second) in zip(axes.flat, pairs, strict=True):
        mine = data[(data["first"] == first) & (data["second"] == second)]
        mesh = epochs_against_epochs(mine, span, ax)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.85, label="similarity (share of equal mask entries)")
    ticks = [t for t in bar.get_ticks() if span[0] <= t <= 1 and abs(t - chance) > 0.06 * (1 - span[0])]
    bar.set_ticks([*ticks, chance], labels=[*(f"{t:.2f}" for t in ticks), f"chance {chance:.2f}"])
    bar.ax.axhline(chance, color="#ffffff", linewidth=2.5, label="chance")
    return figure
