"""Where the project's folders are. Imports nothing heavy."""

from __future__ import annotations

import csv
import os
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


def printed_exhibits(root: Path) -> dict[str, dict[str, str]]:
    """The papers' tables and figures by id: the rows of results/reported/exhibits.csv."""
    with open(root / "results" / "reported" / "exhibits.csv", newline="") as f:
        return {f"{row['paper']}/{row['exhibit'].lower().replace(' ', '_')}": row for row in csv.DictReader(f)}
