"""Executing notebooks with papermill, several at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from replib.spec import ReplibError
from replib.verdicts import JUDGED

TIMEOUT_SECONDS = 900
OWN_ERRORS = ("ReplibError", "SpecError", "Missing", "Damaged", "CannotWrite", "DiskFull")  # say themselves what to do


def render_all(ids: Sequence[str], profile: str, root: Path, workers: int = 1, *, judged: Path | None = None) -> list[Path]:
    """Execute the notebooks of exhibits `ids` into ``build/rendered/<profile>/<paper>/``; returns the executed notebooks. They show the
    verdicts of the file `judged`, where there is one, and do not judge anew.

    Raises :class:`ReplibError` that names every notebook that failed, after all others are done.
    """
    shared = {} if judged is None else {JUDGED: str(judged)}
    with ThreadPoolExecutor(workers) as pool:
        each = pool.map(lambda i: _render(i, profile, root, shared), ids)
        made = list(tqdm(each, total=len(ids), desc="notebooks", disable=len(ids) < 2))
    failed = [m for m in made if isinstance(m, str)]
    if failed:
        raise ReplibError(" ".join(failed))
    return [m for m in made if isinstance(m, Path)]


def _render(id: str, profile: str, root: Path, shared: dict[str, str]) -> Path | str:
    """The executed notebook, or why there is none."""
    import nbformat

    source = root / "notebooks" / f"{id}.ipynb"
    if not source.exists():
        return f"{source} does not exist; replib list shows the exhibits that are implemented."
    out = root / "build" / "rendered" / profile / f"{id}.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".running.ipynb")
    names = _parameters(source)
    if "profile" not in names:
        return f"{source} has no parameter called profile; papermill would ignore it silently. Add it to the parameters cell."
    command = [sys.executable, "-m", "papermill", str(source), str(partial), "-p", "profile", profile, "--cwd", str(root)]
    command += ["--no-progress-bar", "--log-level", "ERROR", "--execution-timeout", str(TIMEOUT_SECONDS), "-k", "python3"]
    environ = {**os.environ, "REPLIB_ROOT": str(root), "JUPYTER_PLATFORM_DIRS": "1", **shared}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    # papermill writes "completed" into notebooks whose kernel died: only the exit status and the execution counts can be trusted.
    skipped = partial.exists() and any(
        c.execution_count is None for c in nbformat.read(partial, 4).cells if c.cell_type == "code" and c.source.strip()
    )
    if done.returncode != 0 or skipped:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        name, _, text = said[-1].partition(": ") if said else ("", "", "")
        where = f"{id} did not run to its end in the profile {profile!r}; what it had done is in {partial}"
        if name in OWN_ERRORS:
            return f"{where}. {text}"
        return f"{where}: {said[-1] if said else 'its kernel died'}. Open it in Jupyter, mend the cell and render again."
    partial.replace(out)
    return out


def _parameters(source: Path) -> list[str]:
    """Names assigned in the notebook's parameters cell."""
    import ast

    import nbformat

    for cell in nbformat.read(source, 4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            return [
                t.id
                for node in ast.parse(cell.source).body
                if isinstance(node, ast.Assign)
                for t in node.targets
                if isinstance(t, ast.Name)
            ]
    return []
