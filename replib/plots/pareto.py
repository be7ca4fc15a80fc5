"""Accuracy against size: every network a point, what none beats in both joined by a line, base networks as levels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from replib.plots.style import CHANCE, look

ALT = (
    "Scatter plots of adversarial accuracy against the number of parameters on a logarithmic axis, one panel an architecture, with the "
    "accuracy of the unpruned network as a dotted line and the best networks of each size joined."
)
CAPTION = (
    "Adversarial accuracy against all parameters that are left, means over seeds; bars are one standard deviation. The dotted line is the "
    "base network, the grey line joins the networks that no smaller one equals. Published compact networks, which the paper draws as "
    "stars, are left out: their values are not in our text."
)


def front(points: pd.DataFrame, size: str = "parameters", value: str = "adversarial_accuracy") -> pd.DataFrame:
    """The rows of `points` that no other row of the same or smaller size reaches, by growing size."""
    ordered = points.sort_values([size, value], ascending=[True, False])
    return ordered[ordered[value] > ordered[value].cummax().shift(fill_value=float("-inf"))]


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a network: mean parameters, mean and standard deviation (n - 1) of adversarial accuracy."""
    rows = ["dataset", "architecture", "variant", "setting", "sparsity_percent"]
    chosen = frame[frame.metric.isin(("parameters", "adversarial_accuracy"))]
    wide = chosen.groupby([*rows, "metric"], sort=False).value.agg(["mean", "std"]).unstack("metric")
    out = pd.DataFrame({m: wide["mean"][m] for m in ("parameters", "adversarial_accuracy")})
    return out.assign(sd=wide["std"]["adversarial_accuracy"]).reset_index()


def pareto(frame: pd.DataFrame) -> Figure:
    """One panel an architecture."""
    points = means(frame)
    places = list(points.groupby("architecture", sort=False))
    figure, axes = plt.subplots(1, len(places), figsize=(3.2 * len(places), 4.4), squeeze=False, sharey=True, layout="constrained")
    for ax, (name, mine) in zip(axes[0], places, strict=True):
        best = front(mine)
        ax.plot(best.parameters, best.adversarial_accuracy, "-", color=CHANCE, linewidth=1.2, zorder=1)
        for setting, part in mine.groupby("setting", sort=False):
            style = look(str(setting))
            if setting == "Baseline":
                ax.axhline(part.adversarial_accuracy.iloc[0], color=style.colour, linestyle=":", linewidth=1.2)
            ax.errorbar(
                part.parameters, part.adversarial_accuracy, yerr=part.sd, fmt=style.marker, color=style.colour, markersize=7,
                markeredgecolor="white", markeredgewidth=0.5, linewidth=1, label=style.label,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_title(str(name), fontsize=10)
        ax.set_xlabel("parameters")
    axes[0][0].set_ylabel("adversarial accuracy (%)")
    handles = {label: h for ax in axes[0] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    handles["not beaten at its size"] = Line2D([], [], color=CHANCE)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure
