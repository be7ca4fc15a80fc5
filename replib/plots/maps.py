"""Where networks look: images with heat laid over them, and maps of saliency."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replib.plots.points import strip
from replib.plots.style import look

SCALE = "viridis"
VEIL = 0.55
"""How far towards white a white pixel of the picture lightens the heat in an overlay: black pixels show the colours of the bar."""
GAP = 0.07
"""Room between two networks, in heights of a picture."""
Pictures = Mapping[str, np.ndarray]
"""clean and (attacked) images (N, C, H, W), attention and saliency (N, H, W), all in [0, 1]; predicted and true (N,)."""
PANELS = {
    "entropy": "entropy of the map\n(1: uniform)",
    "half_area": "area above half\nmaximum (share)",
    "on_object": "mass on the object\nbeyond its size",
}


def grey(image: np.ndarray) -> np.ndarray:
    """Brightness (H, W) of an image (C, H, W): the mean over its channels."""
    return image.astype(float).mean(0)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3): the colours of `heat` (H, W), lightened where `image` (C, H, W) is bright."""
    colours = mpl.colormaps[SCALE](heat.astype(float))[..., :3]
    return colours + VEIL * grey(image)[..., None] * (1 - colours)


def _plain(ax: Axes) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def _verdict(ax: Axes, predicted: int, true: int) -> None:
    """What the network takes the image for; bold where it is fooled, so that colour is not needed to see it."""
    ax.set_title(f"→ {predicted}", fontsize=9, pad=2, fontweight="bold" if predicted != true else "normal")


def attention(made: Mapping[str, Pictures]) -> Figure:
    """Images in columns; for each network a row of Grad-CAM overlays and a row of saliency maps, on one scale (A, Figure 6).

    Above each column the true class; above each overlay the class that the network predicts.
    """
    first = next(iter(made.values()))
    across, heights = len(first["true"]), [1.0, *(h for _ in made for h in (GAP, 1.0, 1.0))]
    figure = plt.figure(figsize=(0.98 * across + 1.9, 0.98 * sum(heights) + 0.18 * len(made)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    grid = figure.add_gridspec(len(heights), across, height_ratios=heights)
    axes = [[_plain(figure.add_subplot(grid[row, column])) for column in range(across)] for row, h in enumerate(heights) if h != GAP]
    for column, ax in enumerate(axes[0]):
        ax.imshow(grey(first["clean"][column]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(f"true: {first['true'][column]}", fontsize=9, pad=2)
    _row_name(axes[0][0], "clean image")
    for n, (name, p) in enumerate(made.items()):
        top, bottom = axes[1 + 2 * n], axes[2 + 2 * n]
        for column in range(across):
            top[column].imshow(overlay(p["images"][column], p["attention"][column]), interpolation="nearest")
            _verdict(top[column], p["predicted"][column], p["true"][column])
            drawn = bottom[column].imshow(p["saliency"][column].astype(float), cmap=SCALE, vmin=0, vmax=1, interpolation="nearest")
        _row_name(top[0], f"{look(name).label}\nGrad-CAM", bold=True)
        _row_name(bottom[0], "saliency")
    bar = figure.colorbar(
        drawn, ax=list(chain(*axes)), shrink=0.4, aspect=30, pad=0.01, label="each map from its smallest value (0) to its largest (1)"
    )
    bar.outline.set_visible(False)
    return figure


def _row_name(ax: Axes, text: str, *, bold: bool = False) -> None:
    ax.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, fontweight="bold" if bold else "normal")


def concentration(frame: pd.DataFrame) -> Figure:
    """The measures of both kinds of map, one point a seed, with the dense mean as a line. Columns are measures that `frame` has."""
    kinds = {"attention": "Grad-CAM", "saliency": "saliency (SmoothGrad)"}
    measures = [m for m in PANELS if f"attention_{m}" in set(frame.metric)]
    dense = frame[frame.setting == "Baseline"]
    figure, axes = plt.subplots(2, len(measures), figsize=(3.2 * len(measures), 5.2), sharex=True, squeeze=False, layout="constrained")
    for row, (kind, title) in zip(axes, kinds.items(), strict=True):
        for ax, measure in zip(row, measures, strict=True):
            metric = f"{kind}_{measure}"
            sparse = frame[(frame.metric == metric) & (frame.setting != "Baseline")]
            strip(sparse, dense[dense.metric == metric].value.mean(), ax=ax)
            ax.set_ylabel(PANELS[measure])
            ax.set_title(title, fontsize=10)
    return figure
