"""The three methods of A as one drawing: when each trains what, and how many weights are in use. An SVG whose text is text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from replib.experiments.sparsity_winning_twice.figure_2 import Schedule, Update
from replib.plots.style import look

INK, FAINT, DENSE = "#1a1a1a", "#6b6b6b", "#cfcfcf"
WIDTH, HEIGHT = 1124, 624
LEFT, RIGHT = 240, 786  # of the time axis
PANEL = 844  # where the explanations begin
FULL, TOPS = 84, (66, 250, 434)  # height of "all weights", and upper edge of each lane's bar
NAMES = ("Robust Bird", "Flying Bird", "Flying Bird+")
WORDS = (
    ("a ticket is found early by", "ordinary training, then made", "robust with its mask fixed"),
    ("one adversarial training;", "the mask moves, the number", "of weights does not"),
    ("the same, and a controller", "that also changes the", "number of weights"),
)
FONT = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\""


def element(name: str, inside: str = "", **attributes: object) -> str:
    """One SVG element; underscores in names of attributes become hyphens, numbers lose needless decimals."""
    shown = (f'{k.replace("_", "-")}="{f"{v:.2f}".rstrip("0").rstrip(".") if isinstance(v, float) else v}"' for k, v in attributes.items())
    return f"<{' '.join((name, *shown))}>{inside}</{name}>"


def text(x: float, y: float, words: str, size: float = 13, **attributes: object) -> str:
    """Words at a place, baseline at `y`."""
    return element("text", escape(words), **({"x": float(x), "y": float(y), "font_size": size, "fill": INK} | attributes))


def rect(x: float, y: float, width: float, height: float, **attributes: object) -> str:
    """A rectangle."""
    return element("rect", x=float(x), y=float(y), width=float(width), height=float(height), **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """A line."""
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **({"stroke": INK} | attributes))


def percent(share: float) -> str:
    """A share in percent, without decimals where it has none: "20 %", "9.7 %"."""
    return f"{round(100 * share, 1):g} %"


def at(s: Schedule, epoch: float) -> float:
    """Place of an epoch of adversarial training on the time axis; the search lies before epoch 0, on the same scale."""
    return LEFT + (RIGHT - LEFT) * (epoch + s.search_epochs) / (s.epochs + s.search_epochs)


def lane(s: Schedule, n: int, start: float) -> list[str]:
    """Name, words, the box that stands for all weights from epoch `start` on, and its scale."""
    top, colour = TOPS[n], look(NAMES[n]).colour
    said = [text(20, top + 44 + 17 * i, words, 12.5, fill=FAINT) for i, words in enumerate(WORDS[n])]
    box = rect(at(s, start), top, RIGHT - at(s, start), FULL, fill="none", stroke=FAINT, stroke_dasharray="2 3", stroke_width=0.8)
    scale = [
        text(RIGHT + 4, y + 4, words, 10.5, fill=FAINT) for y, words in ((top, "100 %"), (top + FULL, "0"))
    ]  # fmt: skip
    return [
        rect(20, top + 6, 12, 12, fill=colour, rx=2), text(38, top + 18, NAMES[n], 17, font_weight=600), *said, box, *scale,
        line(at(s, start), top + FULL, RIGHT, top + FULL, stroke_width=1),
    ]  # fmt: skip


def share(s: Schedule, n: int, until: float) -> str:
    """The weights in use from the start of adversarial training to epoch `until`."""
    height = FULL * s.density
    return rect(at(s, 0), TOPS[n] + FULL - height, at(s, until) - at(s, 0), height, fill=look(NAMES[n]).colour)


def robust_bird(s: Schedule) -> list[str]:
    """Search, ticket, adversarial training."""
    top, zero, first = TOPS[0], at(s, 0), at(s, -s.search_epochs)
    moments = [at(s, e - s.search_epochs) for e in range(s.earliest, s.search_epochs + 1)]
    step = max(1, len(moments) // 12)
    middle = (first + zero) / 2
    marks = [line(x, top, x, top + FULL, stroke_dasharray="3 3", stroke_width=0.9) for x in moments[::step]]
    height = FULL * s.density
    return [
        *lane(s, 0, -s.search_epochs), rect(first, top, zero - first - 2, FULL, fill=DENSE), *marks, share(s, 0, s.epochs),
        text(middle, top - 22, "search: ordinary training,", 12, text_anchor="middle"),
        text(middle, top - 8, f"dense, at most {s.search_epochs} epochs", 12, text_anchor="middle"),
        text((zero + RIGHT) / 2, top - 8, f"adversarial training from the initial weights, {s.epochs} epochs", 12, text_anchor="middle"),
        text((zero + RIGHT) / 2, top + FULL - height - 7, f"the same {percent(s.density)} all along", 12, text_anchor="middle"),
        arrow(zero - 16, top + 24, zero + 26, top + FULL - height - 4), text(zero + 12, top + 26, "ticket", 12, font_style="italic"),
    ]  # fmt: skip


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A line with a head at its end."""
    return line(x1, y1, x2, y2, stroke_width=1.6, marker_end="url(#head)")


def spikes(s: Schedule, n: int) -> list[str]:
    """Below the bar, one spike an update of the mask, as long as the share of weights that it exchanges."""
    low, most = TOPS[n] + FULL + 4, max(u.share for u in s.updates)
    drawn = {"stroke": look(NAMES[n]).colour, "stroke_width": 2.2}
    return [line(at(s, u.epoch), low, at(s, u.epoch), low + 3 + 24 * u.share / most, **drawn) for u in s.updates]


def flying_bird(s: Schedule, n: int) -> list[str]:
    """One adversarial training whose mask is updated again and again."""
    top, zero, height = TOPS[n], at(s, 0), FULL * s.density
    first, last = s.updates[0].share, s.updates[-1].share
    which = "not always the same" if n == 1 else "at first"
    words = f"{len(s.updates)} updates exchange {percent(first)} of the active weights at first, {percent(last)} at last"
    return [
        *lane(s, n, 0), share(s, n, s.epochs if n == 1 else min(s.awake, s.epochs)), *spikes(s, n),
        text((zero + RIGHT) / 2, top - 8, f"adversarial training, {s.epochs} epochs", 12, text_anchor="middle"),
        text(zero + 6, top + FULL - height - 7, f"{percent(s.density)} of the weights, {which}", 12),
        text(RIGHT, top + FULL + 46, words, 12, text_anchor="end"),
    ]  # fmt: skip


def fan(s: Schedule) -> list[str]:
    """What the controller of Flying Bird+ can reach: between pruning boosted at every update and growth boosted at every update."""
    base, colour = TOPS[2] + FULL, look(NAMES[2]).colour
    if s.awake >= s.epochs:
        return [text((at(s, 0) + RIGHT) / 2, TOPS[2] + 20, "too short a run for the controller", 12, text_anchor="middle")]
    after = [Update(s.awake, 0.0, s.density, s.density), *(u for u in s.updates if u.epoch > s.awake), s.updates[-1]]
    after[-1] = Update(s.epochs, 0.0, after[-1].low, after[-1].high)
    upper = [(at(s, u.epoch), base - FULL * u.high) for u in after]
    lower = [(at(s, u.epoch), base - FULL * u.low) for u in after]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*upper, *reversed(lower)))
    floor = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*lower, (at(s, s.epochs), base), (at(s, s.awake), base)))
    end = after[-1]
    x, top = at(s, s.awake), TOPS[2]
    return [
        element("polygon", points=floor, fill=colour), element("polygon", points=points, fill=colour, fill_opacity=0.4),
        line(x, top, x, base, stroke_dasharray="5 3", stroke_width=1.2), text(x + 6, top + 16, f"controller from epoch {s.awake} on:", 12),
        text(x + 6, top + 32, "the network may end with", 12),
        text(x + 6, top + 48, f"{percent(end.low)} to {percent(end.high)} of the weights", 12),
    ]  # fmt: skip


def cells(x: float, y: float, strengths: Sequence[float | None], colour: str, marks: str) -> list[str]:
    """A row of weights: filled by strength, a dashed outline where pruned (None), a sign from `marks` in each."""
    drawn = []
    for i, (strength, mark) in enumerate(zip(strengths, marks, strict=True)):
        look_of = {"fill": "#ffffff", "stroke_dasharray": "2 2"} if strength is None else {"fill": colour, "fill_opacity": strength}
        drawn.append(rect(x + 22 * i, y, 18, 18, stroke=INK, stroke_width=0.8, rx=2, **look_of))
        if mark.strip():
            drawn.append(text(x + 22 * i + 9, y + 14, mark, 15, text_anchor="middle", font_weight=700))
    return drawn


def panels(s: Schedule) -> list[str]:
    """To the right of each lane: how the search stops, what an update does, what the controller looks at."""
    bird, fly, plus = (look(n).colour for n in NAMES)
    unit = " of chance" if s.relative else ""
    reached = s.earliest <= s.search_epochs
    when = f"(dashed lines: from epoch {s.earliest} on)" if reached else "(here: never, the search is too short)"
    y, strong = TOPS[0], 0.85
    kept = ((1, 1, 0, 1, 0, 0, 1, 0, 1, 0), (1, 1, 0, 1, 0, 0, 1, 0, 0, 1), (1, 1, 0, 1, 0, 0, 1, 0, 0, 1))
    out = [text(PANEL, y - 22, "The search stops", 13.5, font_weight=600)]
    for i, (mask, name) in enumerate(zip(kept, ("epoch t − 2", "t − 1", "t"), strict=True)):
        out += cells(PANEL, y - 10 + 23 * i, [strong if k else None for k in mask], bird, " " * 10)
        out.append(text(PANEL + 224, y + 3 + 23 * i, name.removeprefix("epoch "), 11, fill=FAINT))
    out += [
        text(PANEL, y + 76, "when the mask of the largest weights settles:", 12),
        text(PANEL, y + 92, f"the last {s.queue} distances below {percent(s.tau)}{unit}", 12),
        text(PANEL, y + 108, when, 12),
    ]
    y = TOPS[1]
    before = [0.9, None, 0.12, 0.6, None, 0.75, None, 0.18, None, 0.5]
    pruned = [None if v and v < 0.3 else v for v in before]
    grown = [0.0 if i in (1, 6) else v for i, v in enumerate(pruned)]
    out.append(text(PANEL, y - 22, "An update of the mask", 13.5, font_weight=600))
    for i, (row, marks, words) in enumerate((
        (before, "  ×    ×  ", "smallest weights go"),
        (pruned, " +    +   ", "largest gradients come"),
        (grown, " 0    0   ", "new weights begin at 0"),
    )):  # fmt: skip
        out += cells(PANEL, y - 10 + 43 * i, row, fly, marks)
        out.append(text(PANEL, y + 23 + 43 * i, words, 12))
    y = TOPS[2]
    out += [
        text(PANEL, y - 22, "The controller", 13.5, font_weight=600),
        text(PANEL, y - 4, f"in {s.enough} or more of the last {s.window} epochs,", 12),
        rect(PANEL, y + 8, 252, 42, fill="none", stroke=plus, stroke_width=1.2, rx=4),
        text(PANEL + 8, y + 25, "robust gap widens: overfitting", 12),
        text(PANEL + 8, y + 42, f"▼ prune {1 + s.delta_p:g} times as many", 12, font_weight=600),
        rect(PANEL, y + 58, 252, 42, fill="none", stroke=plus, stroke_width=1.2, rx=4),
        text(PANEL + 8, y + 75, "robust loss does not fall: underfitting", 12),
        text(PANEL + 8, y + 92, f"▲ grow {1 + s.delta_g:g} times as many", 12, font_weight=600),
        text(PANEL, y + 117, "Both may hold at once.", 12),
    ]
    return out


def axis(s: Schedule) -> list[str]:
    """Epochs of adversarial training, below the last lane; the search counts its own."""
    y, epochs = HEIGHT - 44, (0, s.epochs // 2, s.epochs)
    ticks = [line(at(s, e), y, at(s, e), y + 5) for e in epochs]
    words = [text(at(s, e), y + 19, str(e), 11.5, text_anchor="middle") for e in epochs]
    middle = (at(s, 0) + RIGHT) / 2
    return [
        line(at(s, 0), y, RIGHT, y), *ticks, *words, text(middle, y + 34, "epochs of adversarial training", 12, text_anchor="middle"),
        text(20, y + 4, "height of bars:", 11.5, fill=FAINT), text(20, y + 20, "share of weights in use", 11.5, fill=FAINT),
    ]  # fmt: skip


def birds(s: Schedule) -> str:
    """The drawing (A, Figure 2, in our own layout) as the text of an SVG, on a white card that reads in dark mode too."""
    end = s.updates[-1]
    title = "Outline of Robust Bird, Flying Bird and Flying Bird+"
    desc = (
        f"Three lanes over one time axis. Robust Bird: a dense search by ordinary training of at most {s.search_epochs} epochs ends in a "
        f"ticket, and {s.epochs} epochs of adversarial training keep its mask of {percent(s.density)} of the weights. Flying Bird: "
        f"{s.epochs} epochs of adversarial training at {percent(s.density)}, with {len(s.updates)} updates of the mask that exchange ever "
        f"fewer weights. Flying Bird+: the same, and from epoch {s.awake} on a controller that prunes more when the robust gap widens and "
        f"grows more when the robust loss does not fall, so that the network may end anywhere between {percent(end.low)} and "
        f"{percent(end.high)} of the weights."
    )
    head = element("path", d="M0,0 L7,3.5 L0,7 Z", fill=INK)
    marker = element(
        "marker", head, id="head", markerWidth=8, markerHeight=8, refX=6, refY=3.5, orient="auto", markerUnits="userSpaceOnUse"
    )
    body = [
        element("title", escape(title), id="birds-title"), element("desc", escape(desc), id="birds-desc"), element("defs", marker),
        rect(0, 0, WIDTH, HEIGHT, fill="#ffffff", rx=6), *robust_bird(s), *flying_bird(s, 1), *flying_bird(s, 2), *fan(s), *panels(s),
        *axis(s),
    ]  # fmt: skip
    root = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img"'
    return f'<svg {root} aria-labelledby="birds-title birds-desc" {FONT}>\n' + "\n".join(body) + "\n</svg>\n"
