"""Paths of training over contours of the loss, one panel a network."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke

from replib.plots.style import look
from replib.plots.surfaces import SCALE, limits, steps

LINES = 16


def over_contours(plane: pd.DataFrame, path: pd.DataFrame, span: tuple[float, float], ax: Axes) -> Any:
    """One network's path over the loss in its plane (A, Figure 3); returns the filled contours, at round levels within `span`.

    `plane`: columns a, b, loss. `path`: epoch, a, b, drop, explained_1 and explained_2 in percent. A dot an epoch, a circle at the start,
    squares where the learning rate drops, a star at the end.
    """
    table = plane.pivot(index="b", columns="a", values="loss")
    drawn = ax.contourf(table.columns, table.index, table, levels=steps(span, LINES), vmin=span[0], vmax=span[1], cmap=SCALE, extend="both")
    ax.contour(table.columns, table.index, table, levels=drawn.levels, colors="white", linewidths=0.5, alpha=0.6)
    # White with a black rim: neutral, since colours mean methods, and visible on all of the scale.
    rim = [withStroke(linewidth=3.6, foreground="black"), Normal()]
    ax.plot(path.a, path.b, ".-", color="white", linewidth=1.4, markersize=3.5, path_effects=rim, label="path, one dot an epoch")
    marks = {"linestyle": "none", "color": "white", "markeredgecolor": "black", "markeredgewidth": 1.2}
    drops = path[path["drop"]]
    ax.plot(path.a.iloc[:1], path.b.iloc[:1], marker="o", markersize=9, label="initial weights", **marks)
    ax.plot(drops.a, drops.b, marker="s", markersize=7, label="learning rate drops", **marks)
    ax.plot(path.a.iloc[-1:], path.b.iloc[-1:], marker="*", markersize=13, label="final weights", **marks)
    first, second = path[["explained_1", "explained_2"]].iloc[0]
    ax.set_xlabel(f"first principal component\n({first:.0f} % of variance)")
    ax.set_ylabel(f"second principal component\n({second:.0f} % of variance)")
    ax.grid(False)
    return drawn


def panels(planes: pd.DataFrame, paths: pd.DataFrame, across: int | None = None, loss: str = "adversarial loss (nats)") -> Figure:
    """One panel a setting in rows of `across` (None: all side by side), with one set of levels and colours; the legend below.

    Columns as for :func:`over_contours`, and setting.
    """
    names, span = list(paths.setting.unique()), limits(planes, 0.95)
    across = across or len(names)
    rows = -(-len(names) // across)
    figure, axes = plt.subplots(rows, across, figsize=(3.5 * across + 0.7, 3.5 * rows + 0.8), layout="constrained", squeeze=False)
    for ax, name in zip(axes.flat, names, strict=True):
        drawn = over_contours(planes[planes.setting == name], paths[paths.setting == name], span, ax)
        ax.set_title(look(name).label, fontweight="bold")
    figure.colorbar(drawn, ax=axes, label=loss, shrink=0.9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
