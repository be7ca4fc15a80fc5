"""Theorem 2 of D drawn: what bounds the distance of outputs, over width, and how far kernels move."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replib.plots.curves import seeds_and_mean, shades

ALT = (
    "Rows of line plots, one for each structure. On the left the distance of outputs and the terms of its bound over the width of the "
    "network, in the middle the distance of outputs over time, a line a width, and on the right how far the tangent kernels of the dense "
    "and the sparse network move, with a falling guide line."
)
CAPTION = (
    "Means over seeds, points and thin lines are seeds. Left: the theorem's bound with a constant that is certain (product of layer norms) "
    "and with the largest derivative that was met, its term from the search objective, and the largest distance of outputs that it bounds. "
    "Middle: that distance over the product of learning rate and steps. Right: movement of the tangent kernel by the end of training, as a "
    "share of the kernel; the dotted line falls like one over the root of the width."
)
BOUNDS = {
    "certified_bound": ("bound, certain constant", "#d55e00", "s", "-"),
    "bound": ("bound, measured constant", "#e69f00", "^", "--"),
    "alpha": ("α", "#cc79a7", "D", ":"),
    "output_distance": ("distance of outputs", "#0072b2", "o", "-"),
}
DRIFTS = {"dense_drift": ("dense kernel", "#000000", "s", "-"), "sparse_drift": ("sparse kernel", "#d55e00", "o", "--")}


def theorem(frame: pd.DataFrame) -> Figure:
    """Rows are structures; terms of the bound on the left and movement of kernels on the right, both over width on logarithmic axes; in the
    middle the distance of outputs over time."""
    found, moving = with_width(frame), over_time(frame)
    settings = list(found.setting.unique())
    size = (12.6, 2.6 * len(settings) + 0.8)
    figure, axes = plt.subplots(len(settings), 3, figsize=size, sharex="col", sharey="col", layout="constrained", squeeze=False)
    for row, setting in zip(axes, settings, strict=True):
        for ax, drawn in zip(row[::2], (BOUNDS, DRIFTS), strict=True):
            for metric, (label, colour, marker, dash) in drawn.items():
                part = found[(found.setting == setting) & (found.metric == metric)]
                means = part.groupby("width").value.mean()
                ax.plot(means.index, means, dash, marker=marker, color=colour, label=label)
                ax.plot(part.width, part.value, ".", color=colour, alpha=0.4, markersize=4)
            ax.set(xscale="log", yscale="log")
            ax.set_title(setting, fontsize=10)
        ax.plot(means.index, means.iloc[0] * np.sqrt(means.index[0] / means.index), ":", color="#999999", label="1 / √n")
        row[0].set_ylabel("distance of outputs")
        row[2].set_ylabel("movement / kernel")
        part = moving[moving.setting == setting]
        for colour, (width, of) in zip(shades(list(part.width.unique())).values(), part.groupby("width"), strict=True):
            seeds_and_mean(of, "time", "value", ax=row[1], colour=colour, dash="-", label=f"width {width}", marker="")
        row[1].set_title(setting, fontsize=10)
        row[1].set_ylabel("distance of outputs")
        row[1].set_ylim(bottom=0)
    axes[-1][1].set_xlabel("learning rate times steps")
    axes[-1][1].legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    for ax in axes[-1][::2]:
        ax.set_xlabel("width n")
        ax.set_xticks(means.index, [f"{n}" for n in means.index])
        ax.minorticks_off()
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    return figure


def with_width(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one width each, without those of one time, with the width as a number."""
    plain = frame[~frame.variant.str.contains("time=")]
    return plain.assign(width=plain.variant.str.removeprefix("width=").astype(int))


def over_time(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one width and time each, with both as numbers."""
    timed = frame[frame.variant.str.contains("time=")]
    parts = timed.variant.str.extract(r"width=(?P<width>\d+); time=(?P<time>.+)")
    return timed.assign(width=parts.width.astype(int), time=parts.time.astype(float))


OBJECTIVE = {
    "alpha": "α", "target_distance_start": "target distance", "kernel_distance_start": "kernel distance",
    "kernel_distance": "kernel distance at the end",
}  # fmt: skip
BOUND = {
    "alpha": "α", "bound": "bound", "output_distance": "largest distance", "lemma_bound": "bound of Lemma 1",
    "attack_change": "largest change by attack", "horizon": "time allowed", "learned_by_horizon": "share learned by then",
    "learned": "share learned at the end", "violated": "violated (share)",
}  # fmt: skip


def numbers(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """One line a setting and width: means over seeds of the metrics that `columns` names, under its words."""
    wide = with_width(frame).groupby(["setting", "width", "metric"], sort=False).value.mean().unstack("metric")
    return wide.reindex(columns=list(columns)).rename(columns=columns).reset_index()
