"""Where the project's folders are. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

from replib.spec import ReplibError


def project_root() -> Path:
    """The folder that holds results/ and build/: $REPLIB_ROOT, else the nearest one above here, else this package's checkout."""
    if "REPLIB_ROOT" in os.environ:
        return Path(os.environ["REPLIB_ROOT"])
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "results" / "reported").is_dir():
            return folder
    raise ReplibError(
        "The folder results/reported was found nowhere above this one. Run from a checkout of the project, or set REPLIB_ROOT."
    )
