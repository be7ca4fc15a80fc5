"""Lines over epochs and over layers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from replib.plots.style import look

SPLITS = {"train": "robust train accuracy (%)", "test": "robust test accuracy (%)"}


def shades(levels: Sequence[float]) -> dict[float, str]:
    """A colour for each sparsity in percent, light to dark along one colour-blind-safe scale."""
    scale, levels = mpl.colormaps["viridis_r"], sorted(levels)
    # The palest fifth of the scale cannot be told from a white card.
    return {s: mpl.colors.to_hex(scale(v)) for s, v in zip(levels, np.linspace(0.2, 0.95, max(1, len(levels))), strict=True)}


def seeds_and_mean(
    data: pd.DataFrame, x: str, y: str, *, ax: Axes, colour: str, dash: str = "-", label: str = "", marker: str = ""
) -> Axes:
    """Every seed as a thin line and their mean as a thick one, which alone carries the label. `data` has columns x, y, seed."""
    for _, one in data.groupby("seed"):
        ax.plot(one[x], one[y], color=colour, linestyle=dash, linewidth=0.7, alpha=0.4, label="_seed")
    mean = data.groupby(x)[y].mean()
    ax.plot(mean.index, mean.to_numpy(), color=colour, linestyle=dash, linewidth=2.2, marker=marker, markersize=4.5, label=label)
    return ax


def robust_accuracy(data: pd.DataFrame, split: str, ax: Axes | None = None) -> Axes:
    """Robust accuracy of one split over epochs: dense dash-dot, sparse runs solid and coloured by sparsity (A, Figure 1).

    `data`: columns sparsity_percent, seed, split, epoch, robust_accuracy; 0 % is the dense network.
    """
    ax = ax or plt.gca()
    rows = data[data.split == split]
    colours = shades([s for s in data.sparsity_percent.unique() if s > 0])
    for level, runs in rows.groupby("sparsity_percent"):
        dense = look("Baseline")
        colour, dash, label = (colours[level], "-", f"{level:g} %") if level > 0 else (dense.colour, dense.dash, "0 % (dense)")
        seeds_and_mean(runs, "epoch", "robust_accuracy", ax=ax, colour=colour, dash=dash, label=label, marker=".")
    ax.set(xlabel="epoch", ylabel=SPLITS[split], xlim=(0, 1.02 * rows.epoch.max()))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def train_above_test(data: pd.DataFrame) -> Figure:
    """Figure 1 of A: train above test on one scale of epochs and one of accuracy, the legend beside them."""
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 6.4), sharex=True, sharey=True, layout="constrained")
    for ax, split in zip(axes, SPLITS, strict=True):
        robust_accuracy(data, split, ax)
    axes[0].set_xlabel("")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="sparsity")
    return figure


INITIALIZATIONS = {
    "Uniform": ("#7f7f7f", "o"), "ERK": ("#8c564b", "D"), "IGQ": (look("IGQ").colour, look("IGQ").marker),
    "SNIP": (look("SNIP").colour, look("SNIP").marker), "GraSP": (look("GraSP").colour, look("GraSP").marker),
    "SynFlow": (look("SynFlow").colour, look("SynFlow").marker),
}  # fmt: skip


def layer_sparsity(data: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Sparsity of every layer in forward order, one line an initialization (A, Figure A10).

    `data`: columns initialization, layer, seed, sparsity in percent.
    """
    ax = ax or plt.gca()
    order = {layer: n for n, layer in enumerate(dict.fromkeys(data.layer))}
    placed = data.assign(place=data.layer.map(order))
    for name, runs in placed.groupby("initialization", sort=False):
        colour, marker = INITIALIZATIONS[name]
        seeds_and_mean(runs, "place", "sparsity", ax=ax, colour=colour, marker=marker, label=name)
    ax.set_xticks(range(len(order)), list(order), rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set(xlabel="layer, from input to output", ylabel="sparsity of the layer (%)", ylim=(-3, 103))
    return ax


def layers_figure(data: pd.DataFrame) -> Figure:
    """Figure A10 of A, the legend beside it."""
    figure, ax = plt.subplots(figsize=(9, 4.4), layout="constrained")
    layer_sparsity(data, ax)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", title="initialization")
    return figure


def loss_rises(data: pd.DataFrame, label: str = "rise of adversarial loss (nats)") -> Figure:
    """Rise of a loss against the radius of the displacement, every seed thin: columns setting, seed, radius, value."""
    figure, ax = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    for name, runs in data.groupby("setting", sort=False):
        style = look(name)
        seeds_and_mean(runs, "radius", "value", ax=ax, colour=style.colour, dash=style.dash, marker=style.marker, label=style.label)
    ax.set(xlabel="displacement of the weights (filter norms)", ylabel=label, xlim=(0, None))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center")
    return figure


def search_accuracy(data: pd.DataFrame) -> Figure:
    """Standard accuracy over the epochs of a ticket search, one line a training regime (A, Figure A7).

    `data`: columns setting, seed, epoch, standard_accuracy in percent.
    """
    figure, ax = plt.subplots(figsize=(7.4, 3.9), layout="constrained")
    for name, runs in data.groupby("setting", sort=False):
        style = look(name)
        drawn = {"colour": style.colour, "dash": style.dash, "marker": style.marker, "label": style.label}
        seeds_and_mean(runs, "epoch", "standard_accuracy", ax=ax, **drawn)
    ax.set(xlabel="epoch of the search", ylabel="standard accuracy,\nvalidation (%)", xlim=(0, 1.03 * data.epoch.max()))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", title="trained by", handlelength=3.2)
    return figure
