"""One panel a metric, one column a setting, one point a seed."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter

from replib.plots.style import look
from replib.plots.tables import variant_words

FEW = 6  # up to so many seeds, points have room to be large
PANELS = {
    "robust_accuracy_final": "robust accuracy,\nfinal (%)",
    "robust_accuracy_diff": "drop from best\nto final (points)",
    "robust_generalization_gap": "robust gap, train\nminus test (points)",
}
CAPTION = (
    "Robust accuracy at the final epoch, its drop from the best epoch, and the robust generalization gap of every row, one point a seed "
    "(side by side only so that all can be seen), a bar at the mean; the dash-dotted line is the dense mean."
)
ALT = (
    "Grid of point plots: final robust accuracy, its drop from the best epoch and the robust generalization gap in rows, one point a seed "
    "for every row of the table, with the dense mean as a line."
)


def strip(runs: pd.DataFrame, dense: float | None = None, by: str = "setting", ax: Axes | None = None) -> Axes:
    """Seeds as points over the names in column `by`, side by side in their order, with the mean as a bar and `dense` as a labelled line."""
    ax = ax or plt.gca()
    names = []
    for i, (name, mine) in enumerate(runs.groupby(by, sort=False)):
        style = look(mine.setting.iloc[0])
        few = len(mine) <= FEW
        places = i + (0.14 if few else 0.28) * np.linspace(-1, 1, len(mine)) if len(mine) > 1 else [i]
        drawn = {"alpha": 0.8, "markersize": 7.5 if few else 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
        ax.plot(places, mine.value, style.marker, color=style.colour, label=name, **drawn)
        names.append(style.label if by == "setting" else variant_words(name)[1])
        if len(mine) == 1:
            continue  # a bar would hide the only point
        mean = ax.plot([i - 0.4, i + 0.4], [mine.value.mean()] * 2, color=style.colour, linewidth=2.4, solid_capstyle="butt")
        plt.setp(mean, path_effects=[withStroke(linewidth=4.4, foreground="white")])
    if dense is not None:
        ax.axhline(dense, color=look("Baseline").colour, linestyle=look("Baseline").dash, linewidth=1)
        drawn = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center", "fontsize": 9}
        ax.annotate("dense", (1, dense), xytext=(3, 0), **drawn)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(names) - 0.4)
    return ax


def settings(frame: pd.DataFrame, panels: Mapping[str, str] = PANELS) -> Figure:
    """A grid: metrics in rows; data sets, networks, attacks and sparsities in columns, as far as they differ.

    Where one setting has several variants, as in the ablations, the variants stand side by side in one panel.
    """
    sparse = frame[frame.setting != "Baseline"]
    by = "variant" if sparse.setting.nunique() == 1 and sparse.variant.nunique() > 1 else "setting"
    apart = [c for c in ("dataset", "architecture", "variant", "sparsity_percent") if c != by]
    columns = list(sparse.groupby(apart, sort=False))
    most = max(part[by].nunique() for _, part in columns)
    figure, axes = plt.subplots(
        len(panels), len(columns), figsize=(max(2.6, 0.46 * most) * len(columns) + 0.6, 2.1 * len(panels) + 1), sharex="col", sharey="row",
        squeeze=False, constrained_layout=True,
    )  # fmt: skip
    for row, (metric, name) in zip(axes, panels.items(), strict=True):
        for ax, (_, part) in zip(row, columns, strict=True):
            strip(part[part.metric == metric], _dense(frame, part, metric), by, ax)
        row[0].set_ylabel(name)
    differs = [c for c in apart if sparse[c].nunique() > 1 or c == "sparsity_percent"]
    for ax, (_, part) in zip(axes[0], columns, strict=True):
        ax.set_title("\n".join(_words(c, part[c].iloc[0]) for c in differs), fontsize=10)
    return figure


def _dense(frame: pd.DataFrame, part: pd.DataFrame, metric: str) -> float | None:
    """Mean of the dense network at the place of `part`; None where there is none."""
    same = (frame.setting == "Baseline") & (frame.metric == metric)
    for column in ("dataset", "architecture"):
        same &= frame[column] == part[column].iloc[0]
    same &= frame.variant.isin(("", part.variant.iloc[0]))
    return float(frame[same].value.mean()) if same.any() else None


def _words(column: str, value: object) -> str:
    if column == "sparsity_percent":
        return f"{value:g} % sparsity" if value else "dense network"
    return variant_words(str(value))[1] if column == "variant" else str(value)


COSTS = {"training_flops_exact_e17": "training operations (share of dense)", "processor_seconds": "training time (processor seconds)"}


def cost_points(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a row and seed: sparsity_percent, setting, seed, robust accuracy, and the columns of :data:`COSTS`."""
    chosen = frame[frame.metric.isin(("robust_accuracy_final", *COSTS))]
    table = chosen.pivot(index=["sparsity_percent", "setting", "seed"], columns="metric", values="value").reset_index()
    flops = "training_flops_exact_e17"
    dense = table[table.setting == "Baseline"].set_index("seed")[flops]
    order = {name: n for n, name in enumerate(frame.setting.drop_duplicates())}
    return table.assign(**{flops: table[flops] / table.seed.map(dense)}).sort_values(["setting", "seed"], key=lambda c: c.replace(order))


def against_cost(frame: pd.DataFrame) -> Figure:
    """Final robust accuracy against two measures of cost, small points for seeds and a large one for their mean; the legend beside."""
    figure, axes = plt.subplots(1, len(COSTS), figsize=(9.6, 3.9), sharey=True, layout="constrained")
    data = cost_points(frame)
    for ax, (cost, name) in zip(axes, COSTS.items(), strict=True):
        for setting, mine in data.groupby("setting", sort=False):
            style = look(setting)
            drawn = {"color": style.colour, "marker": style.marker, "edgecolors": "white"}
            ax.scatter(mine[cost], mine.robust_accuracy_final, s=22, alpha=0.6, linewidths=0.4, **drawn)
            ax.scatter(mine[cost].mean(), mine.robust_accuracy_final.mean(), s=110, linewidths=0.8, label=style.label, **drawn)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(name)
    axes[0].set_ylabel("robust accuracy, final (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure
