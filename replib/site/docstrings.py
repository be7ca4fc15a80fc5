"""A Sphinx extension: the package's docstrings are plain text with backticks, and this makes reStructuredText of them.

In reStructuredText a lone ``*``, ``|`` or trailing underscore opens markup, and an indented line needs a blank line
before it. Docstrings that talk about ``|w|`` or ``W * m`` should not have to know. Text between backticks is code,
roles stay as they are, lists stay lists, other indented lines keep their line breaks, and everything else is shown as
written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_CODE = re.compile(r"(:[a-z:]+:`[^`]+`|``.+?``|`[^`]+`)", flags=re.DOTALL)
_ROLE_WITHOUT_TARGET = re.compile(r":(py:)?(data|attr|const):`")
_MARK = re.compile(r"((?<![\w*])(\*\*?)\w[^*\n]*\w\2(?![\w*]))|[*|`\\@]|_(?!\w)")
_ITEM = re.compile(r"\s*([-*]|\d+\.)\s+(.*)")


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring as valid reStructuredText."""
    out: list[str] = []
    literal = False
    for block in _blocks(lines):
        if block[0].lstrip().startswith((">>>", ".. ")) or (literal and block[0][:1] == " "):
            out += [*block, ""]
            continue
        for kind, said in _segments(block):
            if kind == "verse":
                out += [f"| {_inline(line)}" for line in said]
            else:
                text = _inline(" ".join(line.strip() for line in said))
                literal = text.endswith("::")
                out.append(f"- {text}" if kind == "item" else text)
            out.append("")
    return out


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines that are not blank."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


def _segments(block: list[str]) -> list[tuple[str, list[str]]]:
    """The block cut into ("item" | "verse" | "text", lines): list items with their continuation, indented lines,
    plain text.
    """
    segments: list[tuple[str, list[str]]] = []
    for line in block:
        item = _ITEM.match(line)
        last = segments[-1][0] if segments else ""
        if item:
            segments.append(("item", [item.group(2)]))
        elif line[0] == " " and last == "item":
            segments[-1][1].append(line)
        else:
            kind = "verse" if line[0] == " " else "text"
            if last != kind:
                segments.append((kind, []))
            segments[-1][1].append(line.strip())
    return segments


def _inline(text: str) -> str:
    """`text` with marks escaped outside code spans, and single backticks doubled."""
    pieces = _CODE.split(text)
    out = []
    for k, piece in enumerate(pieces):
        if k % 2 == 0:
            # Words between single or double asterisks are emphasis; every other mark is meant as it stands.
            piece = _MARK.sub(lambda m: m.group(1) or "\\" + m.group(), piece)
            # reStructuredText ends a code span only before a space or a mark; an escaped space is shown as nothing.
            out.append(f"\\ {piece}" if k and piece[:1].isalnum() else piece)
        elif _ROLE_WITHOUT_TARGET.match(piece):
            # Constants and fields have no entry of their own in the reference, so there is nothing to link to.
            out.append(f"``{piece.split('`')[1].lstrip('~')}``")
        else:
            out.append(piece if piece.startswith((":", "``")) else f"`{piece}`")
            if pieces[k - 1][-1:].strip(" \n([{\"'-/:<"):  # and opens one only after these
                out.insert(-1, "\\ ")
    return "".join(out)


def _process(_app: Any, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}
