"""The outline of C as one drawing: pre-training, tickets, transfer under two trainings. An SVG whose text is text."""

from __future__ import annotations

from html import escape

from replib.experiments.double_win_lottery_tickets.outline import Outline
from replib.experiments.double_win_lottery_tickets.runs import SHORT
from replib.plots.schematic import FAINT, FONT, INK, arrow, element, rect, text
from replib.plots.style import look

WIDTH, HEIGHT = 1080, 430
LANES = (92, 182, 272)  # upper edges of the three pre-trainings' boxes
BOX = 62


def networks(o: Outline) -> list[str]:
    """A box for each pre-trained network, and beside it its masks as bars whose length is the share of the weights that is left."""
    drawn = []
    for top, kind in zip(LANES, o.pre_trainings, strict=True):
        colour = look(SHORT[kind]).colour
        drawn += [
            rect(24, top, 190, BOX, fill=colour, fill_opacity=0.16, stroke=colour, rx=6),
            text(119, top + 27, f"{kind}", 14, text_anchor="middle", font_weight=600),
            text(119, top + 46, "pre-training", 12.5, text_anchor="middle"),
            arrow(218, top + BOX / 2, 262, top + BOX / 2),
        ]
        step = BOX / len(o.levels)
        for i, level in enumerate(o.levels):
            drawn.append(rect(272, top + i * step, 200 * (100 - level) / 100, 0.72 * step, fill=colour))
        drawn += [rect(272, top, 200, BOX, fill="none", stroke=FAINT, stroke_dasharray="2 3", stroke_width=0.8)]
        drawn.append(arrow(484, top + BOX / 2, 548, LANES[1] + BOX / 2))
    return drawn


def downstream(o: Outline) -> list[str]:
    """The two trainings with what is measured after each, and the numbers of images."""
    drawn = []
    for top, name, measures in ((92, "standard training", "SA"), (212, "adversarial training", "SA and RA")):
        drawn += [
            rect(560, top, 190, 100, fill="#f2f2f2", stroke=INK, rx=6),
            text(655, top + 44, name, 14, text_anchor="middle", font_weight=600),
            text(655, top + 66, f"measured: {measures}", 12.5, text_anchor="middle"),
            arrow(754, top + 50, 800, 202),
        ]
    drawn += [
        rect(808, 152, 248, 100, fill="#ffffff", stroke=INK, stroke_width=2, rx=6),
        text(932, 184, "double win", 16, text_anchor="middle", font_weight=600),
        text(932, 206, "if all three measures match", 12.5, text_anchor="middle"),
        text(932, 224, "the whole network's", 12.5, text_anchor="middle"),
    ]
    for i, (name, sizes) in enumerate(o.images.items()):
        words = ", ".join(f"{part}: {n}" for part, n in sizes.items())
        drawn.append(text(560, 356 + 18 * i, f"{name}: {words}", 12.5, fill=FAINT))
    return drawn


def outline(o: Outline) -> str:
    """The drawing of Figure 1 with the settings `o`."""
    heads = ((24, "1  pre-train on the source"), (272, "2  prune there, rewind"), (560, "3  transfer"), (808, "4  compare"))
    levels = f"{len(o.levels)} masks, {o.levels[0]:g} to {o.levels[-1]:g} % sparse"
    desc = (
        f"Three boxes, {', '.join(o.pre_trainings)} pre-training, each with {len(o.levels)} masks that keep ever fewer weights, up to "
        f"{o.levels[-1]:g} % sparsity. Tickets go into two trainings on other data, standard and adversarial, and are a double win if "
        "standard accuracy after both and robust accuracy after the second match those of the whole network."
    )
    inside = [
        element("title", escape("Pre-trained networks, their tickets, and their transfer"), id="outline-title"),
        element("desc", escape(desc), id="outline-desc"), HEAD,
        rect(0, 0, WIDTH, HEIGHT, fill="#ffffff", rx=6), *(text(x, 60, words, 15, font_weight=600) for x, words in heads),
        *networks(o), text(272, 356, levels, 12.5, fill=FAINT), text(272, 374, "bars: share of the weights kept", 12.5, fill=FAINT),
        *downstream(o), text(560, 338, "training images of what stands for each set, by part:", 12.5, fill=FAINT),
    ]  # fmt: skip
    root = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img"'
    return f'<svg {root} aria-labelledby="outline-title outline-desc" {FONT}>\n' + "\n".join(inside) + "\n</svg>\n"


HEAD = (
    '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
    f'<path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>'
)
