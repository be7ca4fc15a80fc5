"""Accuracies over sparsity: one panel a metric, one line a method, the dense network as a level."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replib.plots.style import look
from replib.plots.tables import told_apart

PLAIN = str.maketrans("=_;", "  ,")  # a variant in words: "retraining=none" is "retraining none"
DENSE = ("Baseline", "full model", "full model, printed radius")
PANELS = {"clean_accuracy": "clean accuracy (%)", "adversarial_accuracy": "adversarial accuracy (%)"}
ALT = "Line plots of clean and of adversarial accuracy over sparsity, one line a method, with the dense network as a horizontal line."
CAPTION = (
    "Accuracies over sparsity: lines join means over seeds, small points are seeds; the level line is the mean of the dense network, "
    "the band about it its seeds."
)


def ladder(frame: pd.DataFrame, panels: Mapping[str, str] = PANELS, *, stretched: bool = False) -> Figure:
    """Columns are metrics, rows the places (data set and network) of `frame`. `stretched` is an axis on which density is logarithmic."""
    places = list(frame.groupby(["dataset", "architecture"], sort=False))
    figure, axes = plt.subplots(
        len(places),
        len(panels),
        figsize=(4.1 * len(panels) + 1.6, 2.9 * len(places) + 0.3),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for row, (place, part) in zip(axes, places, strict=True):
        for ax, (metric, name) in zip(row, panels.items(), strict=True):
            _lines(ax, part[part.metric == metric])
            ax.set_ylabel(name)
            if len(places) > 1:
                ax.set_title(", ".join(place), fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("sparsity (%)")
        if stretched:
            ax.set_xscale("function", functions=(lambda s: -np.log(np.maximum(100 - s, 1e-3)), lambda v: 100 - np.exp(-v)))
            levels = sorted(frame.sparsity_percent[~frame.setting.isin(DENSE)].unique())
            ax.set_xticks(levels, [f"{level:g}" for level in levels])
    handles = {label: h for ax in axes.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right center")
    return figure


def _lines(ax: plt.Axes, part: pd.DataFrame) -> None:
    levels = np.unique(part.sparsity_percent[~part.setting.isin(DENSE)])
    aside = min(0.8, 0.3 * np.diff(levels).min(initial=np.inf), 0.2 * (100 - levels.max(initial=0)))  # of the seeds: neighbours do not mix
    for setting, mine in part.groupby("setting", sort=False):
        style = look(str(setting))
        for n, (words, line) in enumerate(mine.groupby(mine.variant.map(told_apart), sort=False)):
            dash = style.dash if n == 0 else ":"
            label = ", ".join(filter(None, (style.label, words.translate(PLAIN))))
            if setting in DENSE:
                ax.axhspan(line.value.min(), line.value.max(), color=style.colour, alpha=0.08, linewidth=0)
                ax.axhline(line.value.mean(), color=style.colour, linestyle=dash, linewidth=1.2, label=label)
                continue
            means = line.groupby("sparsity_percent").value.mean()
            ax.plot(means.index, means, dash, marker=style.marker, color=style.colour, label=label, markersize=6, linewidth=1.6)
            if line.seed.nunique() > 1:
                jitter = dict(zip(sorted(line.seed.unique()), np.linspace(-aside, aside, line.seed.nunique()), strict=True))
                ax.plot(line.sparsity_percent + line.seed.map(jitter), line.value, ".", color=style.colour, alpha=0.45, markersize=4)
