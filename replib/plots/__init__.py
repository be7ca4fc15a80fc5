"""Figures and tables. Plot functions take tidy data and optional Axes and return Axes; nothing here computes a result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from replib.plots.card import png
from replib.plots.style import apply, look
from replib.root import project_root
from replib.store.files import write_bytes

if TYPE_CHECKING:
    from IPython.display import Markdown
    from matplotlib.figure import Figure

__all__ = ["apply", "folder", "look", "save"]


def folder(result: Any) -> Path:
    """Where an exhibit's files go: $REPLIB_OUT, else build/rendered/<profile>/<paper>/ of the project."""
    paper = result.exhibit.id.partition("/")[0]
    base = os.environ.get("REPLIB_OUT")
    return Path(base) if base else project_root() / "build" / "rendered" / result.profile.label / paper


def save(
    result: Any, *, figure: Figure | None = None, drawing: str = "", table: pd.DataFrame | None = None, name: str = "", caption: str = ""
) -> Markdown:
    """Write a figure as SVG and PNG and its data as CSV beside the rendered notebook; returns links to them.

    `drawing` is the text of an SVG instead of a figure, written as it is. Files are called ``<exhibit>[__<name>].svg|png|csv``. A watermark
    is drawn into figures of a profile whose numbers mean nothing; those of small data sets in a paper's place are told below the figure.
    """
    from IPython.display import Markdown

    stem = result.exhibit.id.partition("/")[2] + (f"__{name}" if name else "")
    out = folder(result)
    out.mkdir(parents=True, exist_ok=True)
    links = []
    if figure is not None:
        if result.profile.watermark:
            figure.text(0.5, 0.5, result.profile.watermark, ha="center", va="center", rotation=20, fontsize=20, color="red", alpha=0.35)
        if words := result.stand_ins(table):
            _below(figure, f"stand-in data: {words}")
        write_bytes(out / f"{stem}.png", png(figure))
        figure.savefig(out / f"{stem}.svg", bbox_inches="tight", metadata={"Date": None})
        links += [f"[figure as SVG]({stem}.svg)"]
    if drawing:
        write_bytes(out / f"{stem}.svg", drawing.encode())
        links += [f"[figure as SVG]({stem}.svg)"]
    if table is not None:
        write_bytes(out / f"{stem}.csv", table.to_csv(index=False, float_format="%.6g").encode())
        links += [f"[data as CSV]({stem}.csv)"]
    text = " · ".join(links)
    return Markdown(f"{caption}\n\n{text}" if caption else text)


def _below(figure: Figure, words: str) -> None:
    """Put `words` under everything that the figure has, so that a picture that is copied out of its page says what it is of."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # which would make room for the words at the cost of what is above them
    for legend in figure.legends:  # which otherwise goes to the edge of what is cut out, onto the words
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    figure.text(max(box.x0, 0) / width, (box.y0 - 0.06) / height, words, va="top", fontsize=7, color="0.4")
