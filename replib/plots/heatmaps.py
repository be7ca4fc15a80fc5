"""Matrices as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SCALE = "viridis"


def epochs_against_epochs(data: pd.DataFrame, span: tuple[float, float], ax: Axes) -> Any:
    """Similarity of the masks of two regimes at all pairs of epochs; brighter is more alike (A, Figure A8). Returns the image.

    `data`: columns first, second, epoch_first, epoch_second, similarity of one pair. As in the paper, epoch 1 is at the top.
    """
    table = data.pivot(index="epoch_first", columns="epoch_second", values="similarity")
    edges = (table.columns[0] - 0.5, table.columns[-1] + 0.5, table.index[-1] + 0.5, table.index[0] - 0.5)
    image = ax.imshow(table.to_numpy(), cmap=SCALE, vmin=span[0], vmax=span[1], extent=edges, interpolation="nearest", aspect="equal")
    ax.grid(False)
    ax.set(xlabel=f"epoch, {data['second'].iloc[0]} masks", ylabel=f"epoch, {data['first'].iloc[0]} masks")
    return image


def mask_similarity(data: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Figure:
    """One matrix a pair in rows of three, one colour scale from chance to 1, chance marked on its bar."""
    chance = float(data.chance.iloc[0])
    span = (min(chance, float(data.similarity.min())), 1.0)
    across = 3
    rows = -(-len(pairs) // across)
    figure, axes = plt.subplots(rows, across, figsize=(9.6, 3.1 * rows), squeeze=False, layout="constrained")
    for ax, (first, second) in zip(axes.flat, pairs, strict=True):
        mine = data[(data["first"] == first) & (data["second"] == second)]
        image = epochs_against_epochs(mine, span, ax)
    bar = figure.colorbar(image, ax=axes, shrink=0.85, label="similarity (share of equal mask entries)")
    bar.ax.axhline(chance, color="#d55e00", linewidth=3, label="chance")
    bar.ax.annotate(
        f"chance {chance:.2f}", (1, chance), xytext=(6, -14), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=9,
        color="#d55e00", annotation_clip=False,
    )  # fmt: skip
    return figure
