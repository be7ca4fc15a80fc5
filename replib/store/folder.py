"""Job folders: one a task, done exactly when its ``summary.json`` is there and says so of every other file.

``<root>/<kind>-<key>/<seed>/`` holds ``spec.json``, ``metrics.csv``, ``events.csv``, ``arrays.npz``, weights as safetensors,
``environment.json`` and, written last by rename, ``summary.json`` with the size and SHA-256 of the others and of itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from replib.spec import ReplibError, Task, key, resolved
from replib.store import files
from replib.store.environment import environment_id
from replib.store.files import CannotWrite, DiskFull

__all__ = ["CannotWrite", "Damaged", "DiskFull", "Missing", "Output", "Store"]


class Missing(ReplibError, LookupError):
    """A result that nobody has made yet."""

    def __init__(self, task: Task, looked_in: str):
        super().__init__(f"There is no result of {task} in {looked_in}. Make it with: replib run --key {task.name} --seeds {task.seed}")


class Damaged(ReplibError):
    """A result whose files do not match their checksums."""

    def __init__(self, task: Task, what: str):
        self.what = what
        super().__init__(
            f"The result of {task} is damaged: {what}. Nothing else depends on repairing it by hand: replib run --key {task.name} "
            f"--seeds {task.seed} makes it again."
        )


@dataclass(frozen=True)
class Output:
    """What a job hands to the store. ``results`` are scalars or small JSON data; tables are lists of rows."""

    results: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    arrays: Mapping[str, np.ndarray] | None = None
    weights: Mapping[str, Mapping[str, Any]] | None = None  # file stem -> tensors by name
    written: Sequence[str] = ()  # file stems of weights that the job wrote into its folder while it ran
    spent: Mapping[str, float] = field(default_factory=dict)  # seconds and restarts of earlier processes that were killed


def _seal(body: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in body.items() if k != "seal"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=8192)  # pages and verdicts ask the same summary dozens of times
def _sealed(path: Path, inode: int, size: int, changed: int) -> dict[str, Any]:
    """The content of a summary, once for each state that the file was in; raises ValueError with what is wrong with it."""
    try:
        body = json.loads(path.read_bytes())
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(body, dict) or body.get("seal") != _seal(body):
        raise ValueError("does not match its own seal")
    return body


@dataclass(frozen=True)
class Store:
    """Results below ``root``. Reading never trains; a missing or damaged result is an error that names its remedy."""

    root: Path

    def folder(self, task: Task) -> Path:
        """Where everything of `task` lies."""
        return self.root / task.name / str(task.seed)

    @contextlib.contextmanager
    def lock(self, task: Task) -> Iterator[None]:
        """Held while a job runs: a second process asked for the same job waits, then finds it done."""
        folder = self.folder(task)
        with contextlib.ExitStack() as held:
            with files.refusals_explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(folder / ".lock"))
            for left in folder.glob(".*.tmp"):  # what a killed process was writing
                left.unlink()
            yield

    def status(self, task: Task, *, deep: bool = False) -> str:
        """'done', 'missing', or 'damaged: <what>'. `deep` compares checksums, otherwise sizes."""
        try:
            summary = self.summary(task)
        except Missing:
            return "missing"
        except Damaged as e:
            return f"damaged: {e.what}"
        folder = self.folder(task)
        for name, (size, digest) in summary["files"].items():
            path = folder / name
            if not path.exists():
                return f"damaged: {path} is gone"
            if path.stat().st_size != size:
                return f"damaged: {path} has {path.stat().st_size} bytes instead of {size}"
            if deep and files.sha256(path) != digest:
                return f"damaged: {path} does not match its checksum"
        return "done"

    def summary(self, task: Task) -> dict[str, Any]:
        """The content of ``summary.json``; raises :class:`Missing` or :class:`Damaged`."""
        path = self.folder(task) / "summary.json"
        try:
            found = path.stat()
            body = _sealed(path, found.st_ino, found.st_size, found.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(task, str(self.root)) from None
        except ValueError as e:
            raise Damaged(task, f"{path} {e}") from None
        if (body["task"], body["seed"]) != (task.name, task.seed):
            raise Damaged(task, f"{path} belongs to {body['task']}/{body['seed']}")
        return body

    def results(self, task: Task) -> dict[str, Any]:
        """The results part of the summary."""
        return self.summary(task)["results"]

    def path(self, task: Task, name: str) -> Path:
        """A file of a done task, after its checksum was compared."""
        recorded = self.summary(task)["files"]
        path = self.folder(task) / name
        if name not in recorded:
            raise Damaged(task, f"it has no file {name}; it has {', '.join(recorded)}")
        if not path.exists():
            raise Damaged(task, f"{path} is gone")
        if files.sha256(path) != recorded[name][1]:
            raise Damaged(task, f"{path} does not match its checksum")
        return path

    def arrays(self, task: Task) -> dict[str, np.ndarray]:
        """The arrays of a done task."""
        return files.read_arrays(self.path(task, "arrays.npz"))

    def table(self, task: Task, name: str = "metrics") -> pd.DataFrame:
        """``metrics.csv`` or ``events.csv`` of a done task; an empty frame when it logged none."""
        if f"{name}.csv" not in self.summary(task)["files"]:
            return pd.DataFrame()
        return pd.read_csv(self.path(task, f"{name}.csv"))

    def weights(self, task: Task, stem: str) -> dict[str, Any]:
        """Tensors by name of one weights file, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path(task, f"{stem}.safetensors"))

    def finish(self, task: Task, out: Output, *, environment: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
        """Write everything, the summary last. After this the task is done, and the state of the run is deleted."""
        folder = self.folder(task)
        files.write_json(folder / "spec.json", {"kind": task.job.kind, "key": key(task.job), "spec": resolved(task.job)})
        files.write_json(folder / "environment.json", environment)
        names = ["spec.json", "environment.json"]
        for stem, rows in (("metrics", out.metrics), ("events", out.events)):
            if rows:
                files.write_table(folder / f"{stem}.csv", rows)
                names.append(f"{stem}.csv")
        if out.arrays:
            files.write_arrays(folder / "arrays.npz", out.arrays)
            names.append("arrays.npz")
        for stem, tensors in (out.weights or {}).items():
            files.write_weights(folder / f"{stem}.safetensors", tensors)
            names.append(f"{stem}.safetensors")
        names += [f"{stem}.safetensors" for stem in out.written]
        body = {
            "task": task.name,
            "seed": task.seed,
            "label": task.job.label(),
            "results": dict(out.results),
            "cost": cost,
            "environment": environment_id(environment),
            "files": {n: [(folder / n).stat().st_size, files.sha256(folder / n)] for n in names},
        }
        body = json.loads(json.dumps(body, allow_nan=False))
        body |= {"seal": _seal(body)}
        files.write_json(folder / "summary.json", body)
        (folder / "state.pt").unlink(missing_ok=True)
        return body

    def discard(self, task: Task) -> None:
        """Forget that a damaged task was done, so that it runs again; its state, if any, stays."""
        (self.folder(task) / "summary.json").unlink(missing_ok=True)
