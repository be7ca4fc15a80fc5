"""Increase of error after grafting, by cut: one panel a way round and a kind of image."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from replib.plots.curves import shades
from replib.plots.densities import DASHES
from replib.plots.style import look

KINDS = {"natural": "natural images", "adversarial": "adversarial images"}
WAYS = {"dense": "dense layers below sparse ones", "sparse": "sparse layers below dense ones"}
ALT = (
    "Line plots of the increase of error over the cut between layers; one panel a way of grafting and kind of image, a line a density, and "
    "one for a second dense network."
)
CAPTION = (
    "Increase of error in points over the network whose upper layers the graft has, mean over epochs; thick lines are means over seeds, "
    "thin ones seeds."
)


def increases(errors: pd.DataFrame) -> Figure:
    """Columns of `errors`: setting, sparsity_percent, seed, epoch, lower, cut, and the increase for both kinds of image."""
    figure, axes = plt.subplots(len(KINDS), len(WAYS), figsize=(9.2, 5.2), sharex=True, layout="constrained")
    colours, cuts = shades([s for s in errors.sparsity_percent.unique() if s > 0]), sorted(errors.cut.unique())
    for row, (kind, images) in zip(axes, KINDS.items(), strict=True):
        for ax, (lower, words) in zip(row, WAYS.items(), strict=True):
            for (setting, sparsity), part in errors[errors.lower == lower].groupby(["setting", "sparsity_percent"], sort=False):
                means, style = part.groupby("cut")[kind].mean(), look(str(setting))
                dense = sparsity == 0
                label = style.label if dense else f"{round(100 - sparsity, 4):g} %, {style.label}"
                colour, dash = ("#000000", ":") if dense else (colours[sparsity], DASHES.get(str(setting), "-"))
                for _, one in part.groupby("seed"):
                    seed = one.groupby("cut")[kind].mean()
                    ax.plot(seed.index, seed, dash, color=colour, linewidth=0.6, alpha=0.35)
                ax.plot(means.index, means, dash, color=colour, marker=style.marker, label=label)
            ax.axhline(0, color="#999999", linewidth=0.8)
            ax.set_xticks(cuts)
            ax.set_title(words, fontsize=10)
            ax.set_ylabel(f"increase of error,\n{images} (points)")
    for ax in axes[-1]:
        ax.set_xlabel("layers below the cut")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", title="density")
    return figure
