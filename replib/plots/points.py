"""One panel a metric, one column a setting, one point a seed."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from replib.plots.style import look

FEW = 6  # up to so many seeds, points have room to be large
PANELS = {
    "robust_accuracy_final": "robust accuracy,\nfinal (%)",
    "robust_accuracy_diff": "drop from best\nto final (points)",
    "robust_generalization_gap": "robust gap, train\nminus test (points)",
}
CAPTION = (
    "Robust accuracy at the final epoch, its drop from the best epoch, and the robust generalization gap of every setting of Table 1, "
    "one point a seed (side by side only so that all can be seen), a bar at the mean; the dash-dotted line is the dense mean."
)

ALT = (
    "Grid of point plots, sparsities side by side: final robust accuracy, its drop from the best epoch and the robust generalization gap "
    "for ten sparse settings, one point a seed, with the dense mean as a line."
)


def strip(frame: pd.DataFrame, metric: str, sparsity: float, ax: Axes | None = None) -> Axes:
    """Seeds of each setting at one sparsity as points over its name, side by side in their order, with the mean as a bar and dense as a
    labelled line.
    """
    ax = ax or plt.gca()
    chosen = frame[(frame.metric == metric) & (frame.sparsity_percent == sparsity)]
    for i, (setting, runs) in enumerate(chosen.groupby("setting", sort=False)):
        style = look(setting)
        few = len(runs) <= FEW
        places = i + (0.14 if few else 0.28) * np.linspace(-1, 1, len(runs)) if len(runs) > 1 else [i]
        drawn = {"alpha": 0.8, "markersize": 7.5 if few else 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
        ax.plot(places, runs.value, style.marker, color=style.colour, label=setting, **drawn)
        mean = ax.plot([i - 0.4, i + 0.4], [runs.value.mean()] * 2, color=style.colour, linewidth=2.4, solid_capstyle="butt")
        plt.setp(mean, path_effects=[withStroke(linewidth=4.4, foreground="white")])
    dense = frame[(frame.metric == metric) & (frame.setting == "Baseline")].value.mean()
    ax.axhline(dense, color=look("Baseline").colour, linestyle=look("Baseline").dash, linewidth=1)
    ax.annotate("dense", (1, dense), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
    names = [look(s).label for s in chosen.setting.drop_duplicates()]
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(names) - 0.4)
    return ax


def settings(frame: pd.DataFrame) -> Figure:
    """A grid: metrics in rows, sparsities in columns."""
    sparsities = sorted(s for s in frame.sparsity_percent.unique() if s > 0)
    figure, axes = plt.subplots(
        len(PANELS), len(sparsities), figsize=(4.6 * len(sparsities), 2.1 * len(PANELS) + 1), sharex="col", sharey="row",
        squeeze=False, constrained_layout=True,
    )  # fmt: skip
    for row, (metric, name) in zip(axes, PANELS.items(), strict=True):
        for ax, sparsity in zip(row, sparsities, strict=True):
            strip(frame, metric, sparsity, ax)
        row[0].set_ylabel(name)
    for ax, sparsity in zip(axes[0], sparsities, strict=True):
        ax.set_title(f"{sparsity:g} % sparsity", fontsize=10)
    return figure
