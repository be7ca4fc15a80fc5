"""One panel a metric, one column a setting, one point a seed."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replib.plots.style import look

PANELS = {
    "robust_accuracy_final": "robust accuracy,\nfinal (%)",
    "robust_accuracy_diff": "drop from best\nto final (points)",
    "robust_generalization_gap": "robust gap, train\nminus test (points)",
}
CAPTION = (
    "Robust accuracy at the final epoch, its drop from the best epoch, and the robust generalization gap of every setting of Table 1, "
    "one point a seed, a bar at the mean; the dash-dotted line is the dense mean."
)

ALT = (
    "Grid of point plots, sparsities side by side: final robust accuracy, its drop from the best epoch and the robust generalization gap "
    "for ten sparse settings, one point a seed, with the dense mean as a line."
)


def strip(frame: pd.DataFrame, metric: str, sparsity: float, ax: Axes | None = None) -> Axes:
    """Seeds of each setting at one sparsity as points over its name, with the mean as a bar and dense as a line."""
    ax = ax or plt.gca()
    chosen = frame[(frame.metric == metric) & (frame.sparsity_percent == sparsity)]
    for i, (setting, runs) in enumerate(chosen.groupby("setting", sort=False)):
        style = look(setting)
        ax.plot([i] * len(runs), runs.value, style.marker, color=style.colour, alpha=0.55, markersize=4.5, markeredgewidth=0, label=setting)
        ax.plot([i - 0.32, i + 0.32], [runs.value.mean()] * 2, color=style.colour, linewidth=2.2, solid_capstyle="butt")
    dense = frame[(frame.metric == metric) & (frame.setting == "Baseline")].value.mean()
    ax.axhline(dense, color=look("Baseline").colour, linestyle=look("Baseline").dash, linewidth=1)
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
