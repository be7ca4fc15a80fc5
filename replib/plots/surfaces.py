"""Loss surfaces: a static picture of all settings with one scale, and one that can be turned by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from replib.plots.style import look

SCALE = "viridis"
COORDINATES = {
    "weights": ("direction 1 (filter norms)", "direction 2 (filter norms)"),
    "pixels": ("gradient's sign (multiples of ε)", "random signs (multiples of ε)"),
}


def grid(data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n,) and loss (n, n), indexed [a, b], of the rows of one setting: columns a, b, loss."""
    table = data.pivot(index="a", columns="b", values="loss").sort_index().sort_index(axis=1)
    return table.index.to_numpy(float), table.to_numpy(float)


def limits(data: pd.DataFrame, share: float = 0.9) -> tuple[float, float]:
    """One range of losses for all settings: from the smallest to the `share` quantile, since a single peak would flatten the rest."""
    return float(data.loss.min()), float(data.loss.quantile(share))


def steps(span: tuple[float, float], lines: int = 10) -> np.ndarray:
    """About `lines` round levels within `span`, the same for every setting drawn with it."""
    found = MaxNLocator(nbins=lines, steps=[1, 2, 2.5, 5, 10]).tick_values(*span)
    inside = found[(found >= span[0]) & (found <= span[1])]
    return inside if len(inside) > 1 else np.linspace(*span, lines + 1)


def raised(data: pd.DataFrame, span: tuple[float, float], ax: Axes) -> Axes:
    """One setting's surface in three dimensions; heights above `span` are cut off, as the figure's caption must say."""
    c, loss = grid(data)
    a, b = np.meshgrid(c, c, indexing="ij")
    drawn = {"cmap": SCALE, "vmin": span[0], "vmax": span[1], "rstride": 1, "cstride": 1, "linewidth": 0.1, "edgecolor": "#00000022"}
    ax.plot_surface(a, b, np.clip(loss, *span), **drawn)
    ax.set_zlim(*span)
    ax.view_init(elev=28, azim=-58)
    ax.set_box_aspect((1, 1, 0.75), zoom=0.95)
    ax.tick_params(labelsize=8, pad=-2)
    ax.set_xlabel("1", fontsize=9, fontweight="bold", labelpad=-1)
    ax.set_ylabel("2", fontsize=9, fontweight="bold", labelpad=-1)
    return ax


def levels(data: pd.DataFrame, span: tuple[float, float], ax: Axes, *, lines: int = 10) -> Any:
    """One setting's filled contours at the same levels for every setting, the centre marked; returns the contour set."""
    c, loss = grid(data)
    drawn = ax.contourf(c, c, loss.T, levels=steps(span, lines), cmap=SCALE, vmin=span[0], vmax=span[1], extend="both")
    ax.plot(0, 0, marker="+", color="white", markersize=8, markeredgewidth=1.6, label="_centre")
    ax.set_aspect("equal")
    ax.grid(False)
    return drawn


def gallery(data: pd.DataFrame, settings: Sequence[str]) -> Figure:
    """Every setting's surface above its contours; rows of three, one scale of heights and colours. Columns setting, space, a, b, loss."""
    span, across = limits(data), 3
    rows = -(-len(settings) // across)
    first, second = COORDINATES[data.space.iloc[0]]
    figure = plt.figure(figsize=(9.4, 5.6 * rows), layout="constrained")
    grids = figure.add_gridspec(2 * rows, across, height_ratios=[1.25, 1] * rows)
    flat = []
    for n, name in enumerate(settings):
        row, column = divmod(n, across)
        mine = data[data.setting == name]
        solid = raised(mine, span, figure.add_subplot(grids[2 * row, column], projection="3d"))
        solid.set_title(look(name).label, fontweight="bold")
        ax = figure.add_subplot(grids[2 * row + 1, column])
        drawn = levels(mine, span, ax)
        flat.append(ax)
        ax.set(xlabel=first, ylabel=second if column == 0 else "")
        ax.tick_params(labelleft=column == 0)
    figure.colorbar(drawn, ax=flat, label="loss (nats)", shrink=0.6, location="right")
    return figure


def turnable(data: pd.DataFrame, settings: Sequence[str]) -> go.Figure:
    """The same surfaces to be turned by hand, uncut, on one colour scale."""
    span, across = limits(data), 3
    rows = -(-len(settings) // across)
    titles = [look(name).label for name in settings]
    kind = [[{"type": "surface"}] * across for _ in range(rows)]
    figure = make_subplots(rows, across, specs=kind, subplot_titles=titles, horizontal_spacing=0.01, vertical_spacing=0.06)
    first, second = COORDINATES[data.space.iloc[0]]
    for n, name in enumerate(settings):
        c, loss = grid(data[data.setting == name])
        row, column = divmod(n, across)
        hover = f"{titles[n]}<br>{first}: %{{y:.2f}}<br>{second}: %{{x:.2f}}<br>loss: %{{z:.2f}} nats<extra></extra>"
        # Rounded lists: short, and readable by any version of the script. The first index of z runs along y.
        drawn = go.Surface(
            x=c.round(3).tolist(), y=c.round(3).tolist(), z=loss.round(3).tolist(), coloraxis="coloraxis", hovertemplate=hover
        )
        figure.add_trace(drawn, row + 1, column + 1)
    top = float(data.loss.max())
    axes = {"xaxis_title": "2", "yaxis_title": "1", "zaxis_title": "loss", "zaxis_range": [span[0], top], "aspectmode": "cube"}
    axes["camera"] = {"eye": {"x": 1.95, "y": 1.95, "z": 1.4}, "center": {"x": 0, "y": 0, "z": -0.15}}  # labels stay in view
    figure.update_scenes(**axes)
    bar = {"title": {"text": "loss (nats)"}, "len": 0.6}
    figure.update_layout(
        coloraxis={"colorscale": SCALE, "cmin": span[0], "cmax": span[1], "colorbar": bar}, height=380 * rows, paper_bgcolor="white",
        margin={"l": 0, "r": 0, "t": 60, "b": 0}, title_text="",
    )  # fmt: skip
    return figure
