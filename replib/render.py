"""Executing notebooks with papermill, several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from replib.root import JUDGED
from replib.spec import ReplibError

TIMEOUT_SECONDS = 900
OWN_ERRORS = ("ReplibError", "SpecError", "Missing", "Damaged", "CannotWrite", "DiskFull")  # say themselves what to do


def render_all(ids: Sequence[str], profile: str, root: Path, workers: int = 1, *, judged: Path | None = None) -> list[Path]:
    """Execute the notebooks of exhibits `ids` into ``build/rendered/<profile>/<paper>/``; returns the executed notebooks. They show the
    verdicts of the file `judged`, where there is one, and do not judge anew.

    Raises :class:`ReplibError` that names every notebook that failed, after all others are done.
    """
    shared = {"REPLIB_ROOT": str(root), "JUPYTER_PLATFORM_DIRS": "1"} | ({} if judged is None else {JUDGED: str(judged)})
    # Processes, each for many notebooks: importing papermill takes as long as executing a small one.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _surround, (shared,)) as pool:
        each = {pool.submit(_render, id, profile, root): id for id in ids}
        try:
            for _ in tqdm(as_completed(each), total=len(ids), desc="notebooks", disable=len(ids) < 2):
                continue
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    made = [_made(future, id) for future, id in each.items()]
    failed = [m for m in made if isinstance(m, str)]
    if failed:
        raise ReplibError(" ".join(failed))
    return [m for m in made if isinstance(m, Path)]


def _surround(shared: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the others
    os.environ.update(shared)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    """A pool does not notice that its main process was killed, and its workers would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _made(future: Future[Path | str], id: str) -> Path | str:
    """What became of a notebook, also where the process that executed it did not live to say so."""
    try:
        return future.result()
    except BrokenProcessPool:
        return f"{id} was not executed: a process that executes notebooks was killed, as when memory runs out. Render again, with -j 1."
    except OSError as error:
        return f"{id} was not executed: {error}. Mend that and render again."


def _render(id: str, profile: str, root: Path) -> Path | str:
    """The executed notebook, or why there is none."""
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    source = root / "notebooks" / f"{id}.ipynb"
    if not source.exists():
        return f"{source} does not exist; replib list shows the exhibits that are implemented."
    out = root / "build" / "rendered" / profile / f"{id}.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".running.ipynb")
    names = _parameters(source)
    if "profile" not in names:
        return f"{source} has no parameter called profile; papermill would ignore it silently. Add it to the parameters cell."
    where = f"{id} did not run to its end in the profile {profile!r}; what it had done is in {partial}"
    given = {"kernel_name": "python3", "progress_bar": False, "execution_timeout": TIMEOUT_SECONDS, "cwd": str(root)}
    given["extra_arguments"] = ["--log-level=ERROR"]  # each kernel would warn of its unencrypted connection, which stays on this machine
    said = ""
    try:
        execute_notebook(str(source), str(partial), {"profile": profile}, **given)
    except PapermillExecutionError as error:
        if error.ename in OWN_ERRORS:
            return f"{where}. {error.evalue}"
        said = f"{error.ename}: {error.evalue}"
    except Exception as error:  # such as a dead kernel or a cell that takes too long: none may cost the other notebooks
        said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    # papermill writes "completed" into notebooks whose kernel died: only the execution counts can be trusted.
    if said or any(c.execution_count is None for c in nbformat.read(partial, 4).cells if c.cell_type == "code" and c.source.strip()):
        return f"{where}: {said or 'its kernel died'}. Open it in Jupyter, mend the cell and render again."
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
