"""Mask searches and learning curves of D: a colour a density, the dense network black, random structures dashed."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from replib.claims.table import parse_variant
from replib.plots.curves import seeds_and_mean, shades
from replib.plots.style import look

DISTANCES = {"kernel_distance": "kernel distance", "target_distance": "target distance"}
ACCURACIES = {"val_sa": "natural accuracy,\nvalidation (%)", "val_ra": "adversarial accuracy,\nvalidation (%)"}
ADVERSARIAL = {"train_ra": "adversarial accuracy,\ntraining (%)", "val_ra": "adversarial accuracy,\nvalidation (%)"}
NATURAL = {"train_sa": "accuracy of the masked\nnetwork, training (%)", "test_sa": "accuracy of the masked\nnetwork, test (%)"}
DASHES = {"random structure": "--"}
CAPTION = (
    "Thin lines are seeds, thick ones means over seeds. Colours are densities; black dash-dotted is the dense network, dashed are random "
    "structures."
)
NORMS = {"": "", "l2": "Euclidean attack", "linf": "maximum-norm attack"}


def norm_of(variant: str) -> str:
    """The norm that a row's variant names, or nothing."""
    return dict(parse_variant(variant)).get("norm", "")


def by_density(data: pd.DataFrame, x: str, y: str, ax: Axes) -> Axes:
    """One line a setting and density of column `y` over column `x`; columns setting, sparsity_percent and seed tell them apart."""
    colours = shades([s for s in data.sparsity_percent.unique() if s > 0])
    for (setting, sparsity), runs in data.groupby(["setting", "sparsity_percent"], sort=False):
        dense, style = sparsity == 0, look(str(setting))
        label = "dense" if dense else f"{round(100 - sparsity, 4):g} %" + (f", {style.label}" if setting in DASHES else "")
        colour, dash = ("#000000", "-.") if dense else (colours[sparsity], DASHES.get(str(setting), "-"))
        seeds_and_mean(runs, x, y, ax=ax, colour=colour, dash=dash, label=label, marker="." if x == "epoch" else "")
    return ax


def by_setting(data: pd.DataFrame, x: str, y: str, ax: Axes) -> Axes:
    """One line a setting."""
    for setting, runs in data.groupby("setting", sort=False):
        style = look(str(setting))
        seeds_and_mean(runs, x, y, ax=ax, colour=style.colour, dash=style.dash, label=style.label, marker="." if x == "epoch" else "")
    return ax


def _panel(ax: Axes, name: str, x: str, *, log: bool = False) -> None:
    ax.set(xlabel={"step": "step of the search", "epoch": "epoch of training"}[x], ylabel=name)
    if log:
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _legend(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    handles = {label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right center", title=title, handlelength=3.2)


def accuracies(curves: pd.DataFrame) -> Figure:
    """Natural and adversarial accuracy over epochs (D, Figures 4 to 6, 8, 10 and 11)."""
    figure, axes = plt.subplots(1, len(ACCURACIES), figsize=(9.6, 3.6), layout="constrained")
    for ax, (column, name) in zip(axes, ACCURACIES.items(), strict=True):
        by_density(curves, "epoch", column, ax)
        _panel(ax, name, "epoch")
    _legend(figure, axes, "density")
    return figure


def search_and_training(searches: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Distances over a search, on a logarithmic scale, and adversarial accuracy over the training after it (D, Figures 3 and 7).

    Two rows a norm of the attack: distances, then accuracies.
    """
    norms = list(dict.fromkeys(searches.variant.map(norm_of)))
    figure, axes = plt.subplots(2 * len(norms), 2, figsize=(9.6, 6.0 * len(norms)), layout="constrained")
    for row, norm in zip(axes.reshape(len(norms), 4), norms, strict=True):
        found, trained = (frame[frame.variant.map(norm_of) == norm] for frame in (searches, curves))
        for ax, (column, name) in zip(row, (DISTANCES | ADVERSARIAL).items(), strict=True):
            log = column in DISTANCES
            by_density(found if log else trained, "step" if log else "epoch", column, ax)
            _panel(ax, name, "step" if log else "epoch", log=log)
        row[0].set_title(NORMS[norm], loc="left", fontsize=10)
    _legend(figure, list(axes.flat), "density")
    return figure


def transfer_and_surgery(searches: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Accuracy and both distances during the search, and accuracy during the training that follows (D, Figure 1)."""
    panels = NATURAL | DISTANCES
    figure, grid = plt.subplots(3, 2, figsize=(9.6, 8.4), layout="constrained")
    *axes, unused = grid.flat
    unused.remove()
    for ax, (column, name) in zip(axes, panels.items(), strict=False):
        by_setting(searches, "step", column, ax)
        _panel(ax, name, "step", log=column in DISTANCES)
    by_setting(curves, "epoch", "val_sa", axes[-1])
    _panel(axes[-1], "accuracy, validation (%)", "epoch")
    _legend(figure, axes, "")
    return figure
