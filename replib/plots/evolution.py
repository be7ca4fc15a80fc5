"""D's idea as a drawing: the outputs of a dense and of a sparse network move in steps of attack and update. An SVG whose text is text."""

from __future__ import annotations

import math
from html import escape

from replib.plots.schematic import FAINT, FONT, element, line, rect, text

WIDTH, HEIGHT = 1130, 460
LEFT, RIGHT, LOW = 60, 590, 395  # of the axes
PANEL = 740  # where the explanation begins
STEPS = 4
DENSE, SPARSE = "#1b7837", "#2166ac"
TITLE = "Outputs of a dense and a sparse network under adversarial training"
DESC = (
    "Two falling curves over steps of training, the dense network's in green and the sparse one's in blue close to it. At each step a "
    "triangle marks the output; a vertical dashed line leads up to the output on the attacked image, and a horizontal one on to the "
    "next step's curve. Beside them: the gap between the networks' outputs on their own attacked images at the start is the target "
    "distance; how differently an update moves both is what the distance of their mixed tangent kernels measures."
)
WORDS = (
    ("What the mask is searched for", None, 15),
    ("At the start, the gap between both networks' outputs,", None, 12.5),
    ("each on its own attacked image:", None, 12.5),
    ("target distance |f₀(x̃₀) − f₀ˢ(x̃₀ˢ)|²", "gap", 13.5),
    ("From then on, how differently one update of the", None, 12.5),
    ("weights moves both outputs: an update moves f by", None, 12.5),
    ("the mixed tangent kernel Θ(x, x̃) times the residual,", None, 12.5),
    ("so that what counts is the", None, 12.5),
    ("kernel distance |Θ₀ − Θ₀ˢ|²", "gap", 13.5),
    ("If both are small, the curves stay close for as long", None, 12.5),
    ("as the kernels change little (the paper's Theorem 2).", None, 12.5),
)


def at(t: float) -> float:
    """Place of a step on the time axis."""
    return LEFT + 26 + (RIGHT - LEFT - 60) * t / STEPS


def height(t: float, sparse: bool) -> float:
    """Place of an output on its axis: made up, with the shape of a residual that shrinks."""
    fall = 215 * math.exp(-t / (1.55 if sparse else 1.75))
    return LOW - 52 - fall + (26 if sparse else 0)


def lift(t: float) -> float:
    """How far an attack moves the output."""
    return 60 - 5 * t


def curve(sparse: bool) -> str:
    """The continuous dynamics."""
    moments = [i / 20 for i in range(20 * STEPS + 1)]
    points = " ".join(f"{at(t):.1f},{height(t, sparse):.1f}" for t in moments)
    return element("polyline", points=points, fill="none", stroke=SPARSE if sparse else DENSE, stroke_width=2.6)


def steps(sparse: bool) -> list[str]:
    """A triangle at every step, its attack upwards and its update sideways."""
    colour, drawn = SPARSE if sparse else DENSE, []
    for t in range(STEPS):
        x, y, top = at(t), height(t, sparse), height(t, sparse) - lift(t)
        dashed = {"stroke": colour, "stroke_width": 1.5, "stroke_dasharray": "5 4"}
        drawn += [line(x, y, x, top, **dashed), line(x, top, at(t + 1), top, **dashed)]
        drawn.append(line(at(t + 1), top, at(t + 1), height(t + 1, sparse), **(dashed | {"stroke_dasharray": "1 4"})))
        drawn.append(element("circle", cx=x, cy=top, r=3.6, fill="#ffffff", stroke=colour, stroke_width=1.6))
    for t in range(STEPS + 1):
        x, y = at(t), height(t, sparse)
        drawn.append(element("polygon", points=f"{x - 6:.1f},{y + 5:.1f} {x + 6:.1f},{y + 5:.1f} {x:.1f},{y - 7:.1f}", fill=colour))
    return drawn


def labels() -> list[str]:
    """Names of the curves, of one attack and of one update, and the gap at the start."""
    x, up = at(1), height(1, False) - lift(1)
    first, other = (height(0, s) - lift(0) for s in (False, True))
    return [
        text(at(4) + 14, height(4, False) + 2, "dense network f", 13.5, fill=DENSE, font_weight=600),
        text(at(4) + 14, height(4, True) + 8, "sparse network fˢ", 13.5, fill=SPARSE, font_weight=600),
        text(x + 10, up - 26, "attack: output on x̃", 12.5), line(x + 8, up - 22, x + 2, up - 6, stroke=FAINT),
        text((x + at(2)) / 2 + 34, up - 8, "update of the weights", 12.5, text_anchor="middle"),
        line(at(0) - 13, first, at(0) - 13, other, stroke_width=3.2, stroke="#b2182b"),
        text(at(0) + 8, first - 12, "target distance", 12.5, fill="#b2182b"),
    ]  # fmt: skip


def axes() -> list[str]:
    """Steps to the right, the output upwards."""
    ticks = [text(at(t), LOW + 20, f"t = {t}", 12, text_anchor="middle") for t in range(STEPS + 1)]
    marks = [line(at(t), LOW, at(t), LOW + 5) for t in range(STEPS + 1)]
    return [
        line(LEFT, LOW, RIGHT + 10, LOW, stroke_width=1.2), line(LEFT, LOW, LEFT, 40, stroke_width=1.2), *marks, *ticks,
        text((LEFT + RIGHT) / 2, LOW + 44, "steps of adversarial training", 12.5, text_anchor="middle"),
        text(LEFT - 8, 30, "output", 12.5, text_anchor="start"),
    ]  # fmt: skip


def words() -> list[str]:
    """The explanation, to the right."""
    y, drawn = 70, []
    for said, kind, size in WORDS:
        drawn.append(text(PANEL, y, said, size, **({"font_weight": 600} if kind or size > 14 else {})))
        y += 30 if kind or size > 14 else 20
    return drawn


def dynamics() -> str:
    """The drawing (D, Figure 2, in our own layout) as the text of an SVG, on a white card that reads in dark mode too."""
    body = [
        element("title", escape(TITLE), id="dynamics-title"), element("desc", escape(DESC), id="dynamics-desc"),
        rect(0, 0, WIDTH, HEIGHT, fill="#ffffff", rx=6), *axes(), curve(False), curve(True), *steps(False), *steps(True),
        *labels(), *words(),
    ]  # fmt: skip
    root = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img"'
    return f'<svg {root} aria-labelledby="dynamics-title dynamics-desc" {FONT}>\n' + "\n".join(body) + "\n</svg>\n"
