"""Theorem 2 drawn: what bounds what, over sparsity."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

ALT = (
    "Line plots over sparsity for two norms: above, the product of layer norms, the bound and the measured Lipschitz constant on a "
    "logarithmic axis; below, the certified and the attacked radius."
)
CAPTION = (
    "For perceptrons pruned by magnitude, means over seeds and images, points are seeds. Above: the bound of Theorem 2 on the local "
    "Lipschitz constant of score differences, the part of it that the layer norms make, and the largest constant that was met. Below: the "
    "radius that the bound certifies and the one at which an attack succeeds."
)
UPPER = {
    "log_bound": ("bound", "#d55e00", "s", "-"),
    "log_norm_product": ("product of layer norms", "#e69f00", "^", "--"),
    "log_measured": ("measured constant", "#0072b2", "o", "-"),
}
LOWER = {"attacked_radius": ("attacked", "#0072b2", "o", "-"), "certified_radius": ("certified", "#d55e00", "s", "-")}
NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


def theorem(frame: pd.DataFrame) -> Figure:
    """Columns are norms; logarithms above, radii in units of 1/255 below, both on logarithmic axes."""
    figure, axes = plt.subplots(2, len(NORMS), figsize=(9.4, 5.8), sharex=True, layout="constrained")
    for column, (norm, name) in zip(axes.T, NORMS.items(), strict=True):
        mine = frame[frame.variant == f"norm={norm}"]
        for ax, drawn in zip(column, (UPPER, LOWER), strict=True):
            for metric, (label, colour, marker, dash) in drawn.items():
                part = mine[mine.metric == metric]
                values = 10**part.value if drawn is UPPER else part.value
                means = values.groupby(part.sparsity_percent).mean()
                ax.plot(means.index, means, dash, marker=marker, color=colour, label=label)
                ax.plot(part.sparsity_percent, values, ".", color=colour, alpha=0.4, markersize=4)
            ax.set_yscale("log")
        column[0].set_title(f"p = {name}", fontsize=10)
        column[1].set_xlabel("sparsity (%)")
    axes[0, 0].set_ylabel("Lipschitz constant")
    axes[1, 0].set_ylabel("radius (1/255)")
    for row in axes:
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a norm and sparsity: means over seeds of everything that was computed."""
    table = frame.assign(norm=frame.variant.str.removeprefix("norm=").map(NORMS))
    wide = table.groupby(["norm", "sparsity_percent", "metric"], sort=False).value.mean().unstack("metric")
    names = {
        "adversarial_accuracy": "adversarial accuracy, %", "log_norm_product": "log of norm product", "log_bound": "log of bound",
        "log_measured": "log of measured", "certified_radius": "certified radius", "attacked_radius": "attacked radius",
        "violations": "violations",
    }  # fmt: skip
    return wide.reindex(columns=list(names)).rename(columns=names).reset_index().rename(columns={"sparsity_percent": "sparsity, %"})
