"""What a job may use while it runs: the store, the device, the folder of the data sets, a way to report progress, and the processes
that work on it together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from replib.spec import Job, Pinned, Task, task
from replib.store.folder import Store
from replib.store.world import ALONE, World


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Context:
    """Handed to every job. None of it is part of a key."""

    store: Store
    task: Task
    device: str = "cpu"
    data_root: Path | None = None
    progress: Callable[[int, int], None] = silent
    world: World = ALONE

    @property
    def folder(self) -> Path:
        """The job's own folder."""
        return self.store.folder(self.task)

    def parent(self, job: Job | Pinned) -> Task:
        """The task of a parent: the same seed unless it is pinned."""
        return task(job.job, job.seed) if isinstance(job, Pinned) else task(job, self.task.seed)
