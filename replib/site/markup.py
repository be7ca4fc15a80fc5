"""Words of the book as MyST Markdown: what is escaped, how exhibits and claims are named, and tables.

Nothing here reads a file or imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from replib.root import our_exhibits

Record = Mapping[str, Any]


def escape(text: object) -> str:
    """`text` as one line of Markdown that shows exactly these characters, also inside a table cell. None becomes a
    dash.
    """
    if text is None or text == "":
        return "–"
    line = re.sub(r"\s+", " ", str(text)).strip()
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#|$~^])", r"\\\1", line)


def prose(text: str) -> str:
    """A sentence of a docstring or comment as Markdown: code spans and roles become code, the rest is escaped."""
    pieces = re.split(r"(?::[a-z:]+:)?(`{1,2})~?([^`]+)\1", text)
    # Every third piece is text, and the last of each three is the content of a code span.
    return "".join(f"`{piece}`" if k % 3 == 2 else "" if k % 3 == 1 or not piece else _spaced(piece) for k, piece in enumerate(pieces))


def _spaced(piece: str) -> str:
    """`escape` that keeps blanks at the ends and the emphasis of a ``*word*``."""
    if not piece.strip():
        return " "
    shown = re.sub(r"(?<!\w)\\\*(\w[^*\\]*)\\\*(?!\w)", r"*\1*", escape(piece))
    return " " * piece[0].isspace() + shown + " " * piece[-1].isspace()


def slug(text: str) -> str:
    """`text` in lower case with single hyphens between letters and digits: the form of a CSS class."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def exhibit_name(exhibit: str) -> str:
    """ "Figure A8" from ``sparsity_winning_twice/figure_a8`` (or from ``figure_a8``)."""
    if exhibit in our_exhibits():
        return our_exhibits()[exhibit]["exhibit"]
    return " ".join(w.upper() if re.fullmatch(r"a?\d+", w) else w.capitalize() for w in exhibit.split("/")[-1].split("_"))


def exhibit_label(exhibit: str) -> str:
    """The book-wide label of an exhibit: ``exhibit-sparsity_winning_twice-table_1``."""
    return f"exhibit-{exhibit.replace('/', '-')}"


def claim_label(claim_id: str) -> str:
    """The book-wide label of a claim: ``claim-swt_dense_overfits``."""
    return f"claim-{claim_id}"


def number(value: object) -> str:
    """`value` with three significant digits and a true minus sign; words are left as they are, escaped."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(value)
    text = f"{value + 0.0:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return text.replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, classes: str = "wide") -> str:
    """A Markdown table (cells are Markdown already) in a block that scrolls sideways, under its caption."""
    body = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines = [
        f":::{{div}} {classes}",
        f"*{caption}*",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *body,
        "",
        ":::",
        "",
    ]
    return "\n".join(lines)
