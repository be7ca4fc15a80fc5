"""Bars beside each other, every seed a point on its bar."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replib.plots.style import look

WIDTH = 0.36


def floor(values: pd.Series, step: float = 1.0) -> float:
    """Where an axis of percentages begins that does not begin at 0: a multiple of `step`, a third of the range below the least value."""
    reach = max(float(values.max() - values.min()), step)
    return max(0.0, step * math.floor((float(values.min()) - reach / 3) / step))


def paired(frame: pd.DataFrame, metric: str, groups: str, settings: tuple[str, str], ax: Axes, low: float = 0.0) -> Axes:
    """Two bars, one a setting, at each value of the column `groups`, in order of appearance: means, and every seed as a point.

    `frame`: columns `groups`, setting, metric, seed, value. Equal places along the two bars of a group are equal seeds. The axis begins
    at `low`; where that is not 0, the axis line is broken.
    """
    chosen = frame[(frame.metric == metric) & frame.setting.isin(settings)]
    names = list(dict.fromkeys(chosen[groups]))
    for setting, side in zip(settings, (-1, 1), strict=True):
        style = look(setting)
        runs = [chosen[(chosen.setting == setting) & (chosen[groups] == name)].sort_values("seed") for name in names]
        middles = np.arange(len(names)) + side * 0.53 * WIDTH
        means = [one.value.mean() for one in runs]
        bar = {"color": style.colour, "alpha": 0.3, "edgecolor": style.colour, "label": style.label}
        ax.bar(middles, np.subtract(means, low), WIDTH, bottom=low, hatch="" if side < 0 else "//", **bar)
        ax.hlines(means, middles - WIDTH / 2, middles + WIDTH / 2, color=style.colour, linewidth=2.2)
        for middle, one in zip(middles, runs, strict=True):
            places = middle + 0.32 * WIDTH * np.linspace(-1, 1, len(one)) if len(one) > 1 else [middle]
            drawn = {"color": style.colour, "markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.6, "clip_on": False}
            ax.plot(places, one.value, style.marker, label="_seeds", **drawn)
    ax.set_xticks(range(len(names)), names)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(bottom=low)
    if low:
        slashes = {
            "marker": [(-1, -0.6), (1, 0.6)],
            "markersize": 9,
            "color": "#000000",
            "clip_on": False,
            "linestyle": "",
            "label": "_break",
        }
        ax.plot([0, 0], [0.025, 0.055], transform=ax.transAxes, **slashes)
    return ax


NAMES = {"none": "none\n(PGD-AT)", "KD": "distillation\n(KD)", "SWA": "weight averaging\n(SWA)"}
PANELS = {"robust_accuracy_best": "best epoch", "robust_accuracy_final": "final epoch"}


def regularizers(frame: pd.DataFrame, settings: tuple[str, str] = ("Baseline", "Flying Bird+")) -> Figure:
    """Figure 4 of A: robust accuracy at the best epoch by regularizer, dense beside Flying Bird+, and the same at the final epoch.

    `frame`: columns regularizer, setting, metric, seed, value in percent. Both panels share one axis, which begins above 0 and says so.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.9), sharey=True, layout="constrained")
    named = frame[frame.setting.isin(settings)].assign(regularizer=frame.regularizer.map(NAMES))
    low = floor(named[named.metric.isin(PANELS)].value)
    for ax, (metric, title) in zip(axes, PANELS.items(), strict=True):
        paired(named, metric, "regularizer", settings, ax, low)
        ax.set_title(title, fontsize=10)
    cut = f"\naxis begins at {low:g}, not at 0" if low else ""
    axes[0].set_ylabel(f"robust accuracy, test (%){cut}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
