"""Published evidence: the small part of job folders that is kept in git, one folder a key with all its seeds.

``results/<profile>/<kind>-<key>/`` holds ``spec.json``, ``summaries.jsonl`` (one line a seed), ``metrics.csv`` and ``events.csv`` (with a
column ``seed``, rounded; the summaries hold the checksum of the exact file), ``arrays.npz`` (small arrays as ``<seed>/<name>``; no weights,
no masks). ``results/<profile>/environments.json`` holds each environment once.
"""

from __future__ import annotations

import contextlib
import functools
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from replib.spec import ReplibError, Task, key, resolved
from replib.store import files
from replib.store.folder import Damaged, Missing, Store

NOT_PUBLISHED = ("mask/", "ticket@", "retained/")  # arrays that only other jobs read


class Reader(Protocol):
    """What pages, claims and tables read from: a working store, published evidence, or both."""

    def status(self, task: Task) -> str: ...
    def summary(self, task: Task) -> dict[str, Any]: ...
    def results(self, task: Task) -> dict[str, Any]: ...
    def arrays(self, task: Task) -> dict[str, np.ndarray]: ...
    def table(self, task: Task, name: str = "metrics") -> pd.DataFrame: ...


@dataclass(frozen=True)
class Published:
    """The evidence of one profile below ``root`` = ``results/<profile>``."""

    root: Path

    def _lines(self, task: Task) -> dict[int, dict[str, Any]]:
        return _read_lines(self.root / task.name / "summaries.jsonl")

    def seeds(self, task: Task) -> list[int]:
        """Published seeds of the task's job."""
        return sorted(self._lines(task))

    def status(self, task: Task) -> str:
        """'done' or 'missing'."""
        return "done" if task.seed in self._lines(task) else "missing"

    def summary(self, task: Task) -> dict[str, Any]:
        """One published summary; raises :class:`Missing`."""
        lines = self._lines(task)
        if task.seed not in lines:
            raise Missing(task, str(self.root))
        return lines[task.seed]

    def results(self, task: Task) -> dict[str, Any]:
        """The results part of the summary."""
        return self.summary(task)["results"]

    def arrays(self, task: Task) -> dict[str, np.ndarray]:
        """Published arrays of one seed."""
        self.summary(task)
        prefix = f"{task.seed}/"
        return {n.removeprefix(prefix): a for n, a in _read_arrays(self.root / task.name / "arrays.npz").items() if n.startswith(prefix)}

    def table(self, task: Task, name: str = "metrics") -> pd.DataFrame:
        """Published rows of one seed."""
        self.summary(task)
        path = self.root / task.name / f"{name}.csv"
        if not path.exists():
            return pd.DataFrame()
        table = _read_csv(path)
        return table[table.seed == task.seed].drop(columns="seed").reset_index(drop=True)

    def environments(self) -> dict[str, Any]:
        """All environments by id."""
        return _read_json(self.root / "environments.json")


@contextlib.contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise ReplibError(f"{path} is damaged ({e}). Published evidence is kept in git; restore it with: git checkout -- {path}") from e


@functools.lru_cache(maxsize=8)
def _read_json(path: Path) -> dict[str, Any]:
    with _damage_explained(path):
        return json.loads(path.read_text()) if path.exists() else {}


@functools.lru_cache(maxsize=512)
def _read_lines(path: Path) -> dict[int, dict[str, Any]]:
    with _damage_explained(path):
        return {s["seed"]: s for s in map(json.loads, path.read_text().splitlines())} if path.exists() else {}


@functools.lru_cache(maxsize=512)
def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with _damage_explained(path):
        return files.read_arrays(path) if path.exists() else {}


@functools.lru_cache(maxsize=512)
def _read_csv(path: Path) -> pd.DataFrame:
    with _damage_explained(path):
        return pd.read_csv(path)


@dataclass(frozen=True)
class Evidence:
    """The working store first, published evidence where the store has nothing (or something damaged)."""

    store: Store
    published: Published

    def _source(self, task: Task) -> Store | Published:
        return self.store if self.store.status(task) == "done" else self.published

    def where(self, task: Task) -> str:
        """'here', 'published' or 'missing'."""
        if self.store.status(task) == "done":
            return "here"
        return "published" if self.published.status(task) == "done" else "missing"

    def status(self, task: Task) -> str:
        """'done', 'missing' or 'damaged: <what>'."""
        here = self.store.status(task)
        return "done" if self.published.status(task) == "done" else here

    def summary(self, task: Task) -> dict[str, Any]:
        """Summary from wherever it is; raises :class:`Missing`."""
        return self._source(task).summary(task)

    def results(self, task: Task) -> dict[str, Any]:
        """Results part of the summary."""
        return self._source(task).results(task)

    def arrays(self, task: Task) -> dict[str, np.ndarray]:
        """Arrays of the task."""
        return self._source(task).arrays(task)

    def table(self, task: Task, name: str = "metrics") -> pd.DataFrame:
        """Rows of the task."""
        return self._source(task).table(task, name)


def publish(store: Store, tasks: Sequence[Task], root: Path) -> list[str]:
    """Copy the small part of done tasks to `root`; returns the names of the jobs written. Seeds already published are replaced.

    Timing and cost come along as they were; a task that is not done is an error (:class:`Missing` or :class:`Damaged`).
    """
    by_name: dict[str, list[Task]] = {}
    for t in tasks:
        if (status := store.status(t, deep=True)) != "done":
            raise Missing(t, str(store.root)) if status == "missing" else Damaged(t, status)
        by_name.setdefault(t.name, []).append(t)
    environments_path = root / "environments.json"
    environments = dict(_read_json(environments_path))
    for name, group in by_name.items():
        folder = root / name
        lines = dict(_read_lines(folder / "summaries.jsonl"))
        arrays = dict(_read_arrays(folder / "arrays.npz"))
        tables = {n: _old(folder / f"{n}.csv") for n in ("metrics", "events")}
        for t in group:
            summary = store.summary(t)
            lines[t.seed] = summary
            environments[summary["environment"]] = json.loads(store.path(t, "environment.json").read_text())
            arrays = {n: a for n, a in arrays.items() if not n.startswith(f"{t.seed}/")}
            if "arrays.npz" in summary["files"]:
                own = {n: a for n, a in store.arrays(t).items() if not n.startswith(NOT_PUBLISHED)}
                arrays |= {f"{t.seed}/{n}": a for n, a in own.items()}
            for n in tables:
                tables[n] = [*(x for x in tables[n] if x.seed.iloc[0] != t.seed), *_with_seed(store.table(t, n), t.seed)]
        job = group[0].job
        files.write_json(folder / "spec.json", {"kind": job.kind, "key": key(job), "spec": resolved(job)})
        text = "".join(json.dumps(lines[s]) + "\n" for s in sorted(lines))
        files.write_bytes(folder / "summaries.jsonl", text.encode())
        if arrays:
            files.write_arrays(folder / "arrays.npz", dict(sorted(arrays.items())))
        for n, parts in tables.items():
            if parts:
                joined = pd.concat(sorted(parts, key=lambda x: x.seed.iloc[0]), ignore_index=True)
                files.write_bytes(folder / f"{n}.csv", joined.to_csv(index=False, float_format="%.6g").encode())
    files.write_json(environments_path, dict(sorted(environments.items())))
    for cache in (_read_json, _read_lines, _read_arrays, _read_csv):
        cache.cache_clear()
    return list(by_name)


def _old(path: Path) -> list[pd.DataFrame]:
    return [g for _, g in pd.read_csv(path).groupby("seed")] if path.exists() else []


def _with_seed(table: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    return [] if table.empty else [table.assign(seed=seed)[["seed", *table.columns]]]
