"""Theorem 2 of B drawn: what bounds what, over sparsity, and how the norms go with robustness."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from replib.claims.table import parse_variant

ALT = (
    "Line plots over sparsity for two norms: above, the product of layer norms, the bound and the measured Lipschitz constant on a "
    "logarithmic axis; below, the certified and the attacked radius."
)
CAPTION = (
    "For perceptrons pruned by magnitude and trained again (at 0 % only trained again), means over seeds and images, points are seeds. "
    "Above: the bound of Theorem 2 on the local Lipschitz constant of score differences, the part of it that the layer norms make, and the "
    "largest constant that was met. Below: the radius that the bound certifies and the one at which an attack succeeds; images that no "
    "radius broke count with the largest that was tried, 64/255 for ℓ∞, which flattens the curve (their share is in the table)."
)
UPPER = {
    "log_bound": ("bound", "#d55e00", "s", "-"),
    "log_norm_product": ("product of layer norms", "#e69f00", "^", "--"),
    "log_measured": ("measured constant", "#0072b2", "o", "-"),
}
LOWER = {"attacked_radius": ("attacked", "#0072b2", "o", "-"), "certified_radius": ("certified", "#d55e00", "s", "-")}
NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}
MARKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"))
NORMS_ALT = (
    "Adversarial accuracy against the logarithm of the product of layer norms, one line a data set, for perceptrons of one structure that "
    "differ in weight decay; one panel for each of two norms."
)
NORMS_CAPTION = (
    "Dense perceptrons of one structure that were trained with different weight decay. Lines join means over seeds in the order of weight "
    "decay, small points are seeds. The claim says that lines fall to the right."
)


def theorem(frame: pd.DataFrame) -> Figure:
    """Columns are norms; logarithms above, radii in units of 1/255 below, both on logarithmic axes."""
    figure, axes = plt.subplots(2, len(NORMS), figsize=(9.4, 5.8), sharex=True, layout="constrained")
    ladder = frame[frame.setting == "GUP"]
    for column, (norm, name) in zip(axes.T, NORMS.items(), strict=True):
        mine = ladder[ladder.variant.map(lambda v: dict(parse_variant(v))["norm"]) == norm]
        for ax, drawn in zip(column, (UPPER, LOWER), strict=True):
            for metric, (label, colour, marker, dash) in drawn.items():
                part = mine[mine.metric == metric]
                values = 10**part.value if drawn is UPPER else part.value
                means = values.groupby(part.sparsity_percent).mean()
                ax.plot(means.index, means, dash, marker=marker, color=colour, label=label)
                ax.plot(part.sparsity_percent, values, ".", color=colour, alpha=0.4, markersize=4)
            ax.set_yscale("log")
        column[0].set_title(name, fontsize=10)
        column[1].set_xlabel("sparsity (%)")
    axes[0, 0].set_ylabel("Lipschitz constant")
    axes[1, 0].set_ylabel("radius (1/255)")
    for row in axes:
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


def norms(frame: pd.DataFrame) -> Figure:
    """Adversarial accuracy against the product of layer norms, for dense perceptrons that differ in weight decay; columns are norms."""
    figure, axes = plt.subplots(1, len(NORMS), figsize=(9.4, 3.6), sharey=True, layout="constrained")
    dense = by_row(frame[frame.setting == "Baseline"])
    for ax, (norm, name) in zip(axes, NORMS.items(), strict=True):
        for (dataset, mine), (colour, marker) in zip(dense[dense.norm == norm].groupby("dataset", sort=False), MARKS, strict=False):
            means = mine.groupby("weight_decay")[["log_norm_product", "adversarial_accuracy"]].mean()
            ax.plot(means.log_norm_product, means.adversarial_accuracy, "-", marker=marker, color=colour, label=f"stand-in of {dataset}")
            ax.plot(mine.log_norm_product, mine.adversarial_accuracy, ".", color=colour, alpha=0.4, markersize=4)
        ax.set(title=name, xlabel="log₁₀ of the product of layer norms")
    axes[0].set_ylabel("adversarial accuracy (%)")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


def by_row(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a network, norm and seed, its metrics as columns, its norm and (of dense networks) weight decay beside them."""
    words = frame.variant.map(lambda v: dict(parse_variant(v)))
    told = frame.assign(norm=words.map(lambda w: w["norm"]), weight_decay=words.map(lambda w: float(w.get("weight_decay", 1))))
    keys = ["dataset", "setting", "sparsity_percent", "norm", "weight_decay", "seed"]
    return told.pivot_table(index=keys, columns="metric", values="value", sort=False, dropna=False).dropna(how="all").reset_index()


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a network and norm: means over seeds of everything that was computed."""
    rows = by_row(frame)
    names = {
        "clean_accuracy": "clean accuracy, %", "adversarial_accuracy": "adversarial accuracy, %",
        "log_norm_product": "log of norm product", "log_bound": "log of bound", "log_measured": "log of measured",
        "flat_share": "flat (share)", "certified_radius": "certified radius", "attacked_radius": "attacked radius",
        "unbroken_percent": "unbroken, %", "violations": "violations",
    }  # fmt: skip
    keys = ["dataset", "norm", "setting", "sparsity_percent", "weight_decay"]
    means = rows.groupby(keys, sort=False, dropna=False)[list(names)].mean().reset_index()
    means = means.assign(norm=means.norm.map(NORMS), setting=means.setting.map({"Baseline": "once", "GUP": "again"}))
    titles = {"dataset": "stand-in of", "sparsity_percent": "sparsity, %", "weight_decay": "weight decay, times", "setting": "trained"}
    return means.rename(columns=names | titles)
