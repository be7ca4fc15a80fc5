"""Distributions of weights: the networks of a panel together, counts on a logarithmic axis, as B draws them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MultipleLocator

from replib.experiments.achieving_robustness_via_sparsity import figures
from replib.experiments.registry import Results
from replib.plots.style import look

ALT = "Histograms of weights near zero on a logarithmic count axis, two or three networks in each panel."
CAPTION = (
    "Unpruned convolution weights within ±0.02, counts summed over seeds on a logarithmic axis. Scales of weights are arbitrary under "
    "batch normalisation: the table below also has numbers with normalisation folded in."
)

BINS = 40
"""Bins that are drawn, 0.001 wide like the narrower share of the table; the runs keep five times as many."""

Panel = Sequence[tuple[str, np.ndarray, np.ndarray]]  # (setting, counts, edges) of each network


def histograms(panels: Sequence[tuple[str, Panel]]) -> Figure:
    """One panel a title; its networks as outlines, the first one filled."""
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.6 * columns, 2.9 * lines), squeeze=False, sharex=True, layout="constrained")
    for ax, (title, panel) in zip(axes.flat, panels, strict=False):
        for n, (setting, counts, edges) in enumerate(panel):
            style = look(setting)
            if n == 0:
                ax.stairs(counts, edges, fill=True, color=style.colour, alpha=0.35)
            ax.stairs(counts, edges, color=style.colour, linewidth=1.4, linestyle=("-", "--", ":")[n], label=style.label)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(LogFormatter())
        ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
        ax.xaxis.set_major_locator(MultipleLocator(0.01))
        ax.set_title(title, fontsize=10)
        below = -0.3 if ax in axes[-1] else -0.05  # of the axis label where there is one
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, below), ncols=3)
    for ax in list(axes.flat)[len(panels) :]:
        ax.remove()
    for ax in axes[-1]:
        ax.set_xlabel("weight")
    for row in axes:
        row[0].set_ylabel("weights")
    return figure


NUMBERS = {
    "near_zero_share": "below 0.001, %",
    "near_zero_share_loose": "below 0.01, %",
    "mean_abs_weight": "mean |w|",
    "hoyer": "Hoyer",
    "folded_near_zero_share_loose": "folded: below 0.01, %",
    "folded_mean_abs_weight": "folded: mean |w|",
    "folded_hoyer": "folded: Hoyer",
    "lr_times_decay": "Σ lr × decay",
}


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a network, one column a number of :data:`NUMBERS`: means over seeds; shares in percent."""
    rows = [c for c in ("dataset", "architecture") if frame[c].nunique() > 1] + ["sparsity_percent", "setting"]
    order = pd.MultiIndex.from_frame(frame[rows].drop_duplicates())
    wide = frame[frame.metric.isin(NUMBERS)].groupby([*rows, "metric"], sort=False).value.mean().unstack("metric").reindex(order)
    wide = wide[list(NUMBERS)]
    shares = [m for m in NUMBERS if "share" in m]
    wide[shares] *= 100
    return wide.rename(columns=NUMBERS).reset_index()


def panels(r: Results) -> list[tuple[str, Panel]]:
    """The networks that each panel of a figure of B compares, and the panel's title."""
    samples = figures.SAMPLES[r.exhibit.id.rpartition("/")[2]](r.profile)
    found = figures.histograms(r.evidence, samples, r.seeds)
    return [
        (title, [(s.setting, *coarser(counts, edges, BINS)) for s, counts, edges in found if s.panel == title])
        for title in dict.fromkeys(s.panel for s in samples)
    ]


def coarser(counts: np.ndarray, edges: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The same histogram in `bins` bins, each of as many neighbours; as it is if their number is no multiple of `bins`."""
    if len(counts) % bins:
        return counts, edges
    return counts.reshape(bins, -1).sum(axis=1), edges[:: len(counts) // bins]


def counts(r: Results) -> pd.DataFrame:
    """What is drawn, one line a bin: panel, setting, lower and upper edge, count."""
    lines = [
        {"panel": title, "setting": setting, "from": low, "to": high, "weights": n}
        for title, panel in panels(r)
        for setting, inside, edges in panel
        for n, low, high in zip(inside, edges[:-1], edges[1:], strict=True)
    ]
    return pd.DataFrame(lines)
