"""Where the project's folders are, and what its papers and pages are called. Imports nothing heavy."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

from replib.spec import ReplibError


def project_root() -> Path:
    """The folder that holds results/ and build/: $REPLIB_ROOT, else the nearest one above here, else this package's checkout."""
    if named := os.environ.get("REPLIB_ROOT"):
        if not (Path(named) / "results" / "reported").is_dir():
            raise ReplibError(f"REPLIB_ROOT is {named!r}, which has no folder results/reported. Set it to a checkout of the project.")
        return Path(named)
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "results" / "reported").is_dir():
            return folder
    raise ReplibError(
        "The folder results/reported was found nowhere above this one. Run from a checkout of the project, or set REPLIB_ROOT."
    )


def exhibit_id(paper: str, exhibit: str) -> str:
    """``sparsity_winning_twice/figure_a8`` from the paper's folder name and "Figure A8"."""
    return f"{paper}/{re.sub('[^a-z0-9]+', '_', exhibit.lower()).strip('_')}"


def printed_exhibits(root: Path) -> dict[str, dict[str, str]]:
    """The papers' tables and figures by id: the rows of results/reported/exhibits.csv."""
    with open(root / "results" / "reported" / "exhibits.csv", newline="") as f:
        return {exhibit_id(row["paper"], row["exhibit"]): row for row in csv.DictReader(f)}


@dataclass(frozen=True)
class Paper:
    """A paper as readers know it: folder name, title, and a shorter title for table heads."""

    name: str
    title: str
    short: str


PAPERS = (
    Paper("sparsity_winning_twice", "Sparsity Winning Twice", "Sparsity Winning Twice"),
    Paper("achieving_robustness_via_sparsity", "Achieving Adversarial Robustness via Sparsity", "Robustness via Sparsity"),
    Paper("double_win_lottery_tickets", "Data-Efficient Double-Win Lottery Tickets", "Double-Win Tickets"),
    Paper(
        "adversarial_winning_tickets",
        "Finding Dynamics Preserving Adversarial Winning Tickets",
        "Adversarial Winning Tickets",
    ),
)

_A, _B, _D = "sparsity_winning_twice", "achieving_robustness_via_sparsity", "adversarial_winning_tickets"
JUDGED = "REPLIB_VERDICTS"
"""Environment variable: the file of records that a command has judged once for all the notebooks that it executes."""
TOGETHER = "together"
"""Where an exhibit belongs that reads the four papers together."""
OUR_EXHIBITS = (
    (_A, "Section A4.3", "ours", "Fast and free adversarial training combined with Flying Bird+, accuracy against cost."),
    (_A, "Equal density", "ours", "Every method of Table 1 at the density that Flying Bird+ ends with, and shuffled twins."),
    (_B, "Theorem 2", "theorem", "The product of layer norms bounds the local Lipschitz constant of a network."),
    (_D, "Theorem 2", "theorem", "Networks with close mixed tangent kernels stay close under adversarial training."),
    (TOGETHER, "Arena", "ours", "Thirteen mask sources of the four papers under one recipe at one final density, and shuffled twins."),
)
"""Pages that no table or figure of a paper has: paper, name, kind, what it shows."""


def our_exhibits() -> dict[str, dict[str, str]]:
    """:data:`OUR_EXHIBITS` by id, with the columns that :func:`printed_exhibits` has of them."""
    rows = (dict(zip(("paper", "exhibit", "kind", "what_it_shows"), row, strict=True)) for row in OUR_EXHIBITS)
    return {exhibit_id(row["paper"], row["exhibit"]): row for row in rows}
