"""Which threats to validity concern which claim: read from the page that tells them."""

from __future__ import annotations

import re


def concerned(page: str) -> dict[str, list[tuple[str, str]]]:
    """Title and label of the sections of `page` (Markdown) that link to a claim, by the claim's id. A section has its label above it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for label, title, text in re.findall(r"^\(([\w-]+)\)=\n## (.+)\n((?:(?!^\([\w-]+\)=$|^## ).*\n?)*)", page, re.MULTILINE):
        for claim in dict.fromkeys(re.findall(r"\(#claim-(\w+)\)", text)):
            found.setdefault(claim, []).append((title, label))
    return found
