"""Accuracies of transferred tickets over sparsity, as C draws them: one panel a measure and data set or part of the data."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replib.plots.style import CHANCE, look

MEASURES = {
    "SA (ST)": "standard accuracy after\nstandard training (%)",
    "SA (AT)": "standard accuracy after\nadversarial training (%)",
    "RA (AT)": "robust accuracy after\nadversarial training (%)",
    "task": "accuracy (%)",
}
ALT = (
    "Line plots of accuracy over sparsity, one line a kind of ticket, measures in rows, columns as titled; the level of the whole network "
    "is dashed."
)
CAPTION = (
    "Accuracy over sparsity. Lines join means, bands are ± one standard deviation over seeds, thin lines are seeds; dashed is the whole "
    "network of the same pre-training. A step to the right keeps a constant share of the weights."
)


def place(sparsity: pd.Series | np.ndarray) -> np.ndarray:
    """Where a sparsity in percent lies on the axis: rounds of pruning that remove a fifth of what remains."""
    return np.log1p(-np.asarray(sparsity, float) / 100) / np.log(0.8)


def over_sparsity(ax: Axes, data: pd.DataFrame) -> None:
    """The curves of one panel: columns series, sparsity_percent, seed, value; 0 % is the whole network."""
    for name, mine in data.groupby("series", sort=False):
        style, table = look(str(name)), mine.pivot(index="sparsity_percent", columns="seed", values="value")
        x, mean, sd = place(table.index), table.mean(axis=1), table.std(axis=1)
        if table.shape[1] > 1:
            ax.fill_between(x, mean - sd, mean + sd, color=style.colour, alpha=0.15, linewidth=0)
            ax.plot(x, table, color=style.colour, linewidth=0.5, alpha=0.35)
        ax.plot(x, mean, style.dash, color=style.colour, marker=style.marker, markersize=5, linewidth=1.8, label=style.label)
        if 0 in mean:
            ax.axhline(mean[0], color=style.colour, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.7)


def axis(ax: Axes, levels: list[float]) -> None:
    """Ticks at the sparsities."""
    ax.set_xticks(place(np.array(levels)), [f"{level:g}" for level in levels], rotation=50, fontsize=8)


def grid(data: pd.DataFrame, columns: str, words: Callable[[str], str] = str) -> Figure:
    """Measures in rows and the values of `columns` in columns, each column's panels under what `words` says of its value.

    `data`: columns series, measure, sparsity_percent, seed, value, and `columns`.
    """
    names, across = [m for m in MEASURES if m in set(data.measure)], list(data[columns].unique())
    levels = sorted(data.sparsity_percent.unique())
    size = (3.3 * len(across) + 0.4, 2.6 * len(names) + 0.7)
    figure, axes = plt.subplots(len(names), len(across), figsize=size, squeeze=False, sharex=True, layout="constrained")
    for row, measure in zip(axes, names, strict=True):
        for ax, value in zip(row, across, strict=True):
            over_sparsity(ax, data[(data.measure == measure) & (data[columns] == value)])
            axis(ax, levels)
        row[0].set_ylabel(MEASURES[measure])
    for ax, value in zip(axes[0], across, strict=True):
        ax.set_title(words(value), fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("sparsity (%)")
    handles = {label: h for ax in axes.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def masks(overlap: pd.DataFrame, kernels: pd.DataFrame) -> Figure:
    """Figure A8 of C: intersection over union of pairs of masks above zero kernels, both with chance.

    `overlap` and `kernels`: columns series, sparsity_percent, seed, value, chance; of the first also layered, of masks that agree about
    layers.
    """
    levels = sorted(overlap.sparsity_percent.unique())
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 6.4), sharex=True, layout="constrained")
    for ax, data, label in ((top, overlap, "intersection over union\nof two masks"), (bottom, kernels, "zero kernels")):
        over_sparsity(ax, data)
        for column, dash, words in (("chance", ":", "random masks"), ("layered", (0, (2, 3)), "random masks,\nsame layers")):
            if column in data:
                chance = data.groupby("sparsity_percent")[column].mean()
                ax.plot(
                    place(chance.index), chance, linestyle=dash, color=CHANCE if column == "chance" else "black", linewidth=2, label=words
                )
        axis(ax, levels)
        ax.set_ylabel(label)
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    bottom.set_xlabel("sparsity (%)")
    return figure


def zero_kernels(bands: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Figure 7 of C: one panel a pre-training, blocks from top to bottom, bright where all kernels of a spot are zero.

    `bands`: shares as uint8 (rows, columns), 255 where all are zero, by panel and block.
    """
    blocks = list(next(iter(bands.values())))
    heights = [max(8, next(iter(bands.values()))[b].shape[0]) for b in blocks]
    figure, axes = plt.subplots(
        len(blocks), len(bands), figsize=(3 * len(bands) + 0.6, 5.2), squeeze=False, layout="constrained", height_ratios=heights
    )
    for column, (name, mine) in zip(axes.T, bands.items(), strict=True):
        column[0].set_title(look(name).label, fontsize=10)
        for ax, block in zip(column, blocks, strict=True):
            image = ax.imshow(mine[block], cmap="viridis", vmin=0, vmax=255, aspect="auto", interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
    for ax, block in zip(axes[:, 0], blocks, strict=True):
        ax.set_ylabel(block, rotation=0, ha="right", va="center")
    for ax in axes[-1]:
        ax.set_xlabel("input channel")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="share of zero kernels")
    bar.set_ticks([0, 127.5, 255], labels=["0", "0.5", "1"])
    return figure
