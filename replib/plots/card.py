"""Figures as they appear on a page: a picture on a white card, with alt text and a caption."""

from __future__ import annotations

import base64
import html
import io
from weakref import WeakKeyDictionary

import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure

from replib.spec import ReplibError

_DRAWN: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()


def png(figure: Figure) -> bytes:
    """The figure as it is now as a PNG, which :func:`card` shows from then on: page and file have one picture.

    Its layout is worked out here for good; in whatever format it is saved next, it looks the same.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    figure.set_layout_engine("none")
    _DRAWN[figure] = picture.getvalue()
    return _DRAWN[figure]


def card(figure: Figure, alt: str, caption: str = "") -> HTML:
    """The figure inside the page, so that it shows wherever the notebook is opened: as it was saved, or else as it is now. It is closed.

    `alt` says what a reader would see, for those who cannot; `caption` is HTML below it. The card is white in dark mode too.
    """
    if not alt.strip():
        raise ReplibError("A figure needs alt text: one or two sentences that say what it shows. Pass alt=...")
    source = "data:image/png;base64," + base64.b64encode(_DRAWN.get(figure) or png(figure)).decode()
    plt.close(figure)
    image = f'<img src="{source}" alt="{html.escape(alt)}" style="max-width:100%;background:#fff;border-radius:4px">'
    return HTML(f'<figure class="replib-figure" style="margin:0">{image}<figcaption>{caption}</figcaption></figure>')


def drawn(svg: str, caption: str = "", least: int = 640) -> HTML:
    """An SVG inside the page, its text as text; it scrolls where the page is narrower than `least` pixels, so that it stays legible.

    The SVG says itself what it shows: it must have a `title` and a `desc`.
    """
    if "<title" not in svg or "<desc" not in svg:
        raise ReplibError("A drawing needs a title and a desc element: they are what a reader hears who cannot see it.")
    body = f'<div style="overflow-x:auto"><div style="min-width:{least}px">{svg}</div></div>'
    return HTML(f'<figure class="replib-figure" style="margin:0">{body}<figcaption>{caption}</figcaption></figure>')
