"""What an exhibit is: one table or figure of a paper as jobs, and how its numbers are read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from replib.experiments.profiles import Profile
from replib.experiments.rows import COLUMNS, Line, frame
from replib.spec import Job, Task, task
from replib.store.evidence import Reader


@dataclass(frozen=True)
class Exhibit:
    """One table or figure: the jobs it is drawn from and the tidy frame they become.

    `seeds` says which declared number of seeds applies; "none" is a drawing, which has no jobs and so no seeds. `jobs(profile)` lists the
    jobs (parents are found by themselves); `read(reader, profile, seeds)` returns the tidy frame of what is done in all of them.
    """

    id: str
    title: str
    jobs: Callable[[Profile], Sequence[Job]]
    read: Callable[[Reader, Profile, Sequence[int]], pd.DataFrame]
    seeds: Literal["flagship", "ordering", "none"] = "ordering"
    rows: Callable[[Profile], list[Line]] | None = None  # of accuracies, where it has any
    page: bool = True  # False: shown on another exhibit's page
    part_of: str = ""  # the table whose rows these are, where they are not all of it and have a number of seeds of their own
    beside: tuple[str, ...] = ()  # ids of the exhibits that its page shows besides

    def declared(self, p: Profile) -> int:
        """Number of seeds declared for this exhibit in profile `p`."""
        return {"flagship": p.flagship, "ordering": p.ordering, "none": 0}[self.seeds]

    def tasks(self, p: Profile, seeds: Sequence[int] | None = None) -> list[Task]:
        """The tasks of the exhibit itself, ancestors not included."""
        chosen = range(self.declared(p)) if seeds is None else [s for s in seeds if s < self.declared(p)]
        jobs = self.jobs(p)
        return [task(job, seed) for seed in chosen for job in jobs]


def rows_exhibit(
    id: str, title: str, rows: Callable[[Profile], list[Line]], seeds: Literal["flagship", "ordering"] = "ordering", *, page: bool = True,
    part_of: str = "", beside: tuple[str, ...] = (),
) -> Exhibit:  # fmt: skip
    """An exhibit that is a table of accuracies, or a part of one."""
    paper, _, name = id.partition("/")
    return Exhibit(
        id, title,
        lambda p: [job for row in rows(p) for job in row.jobs()],
        lambda reader, p, chosen: frame(reader, rows(p), chosen, paper=paper, exhibit=part_of or name),
        seeds, rows, page, part_of, beside,
    )  # fmt: skip


def drawing(id: str, title: str) -> Exhibit:
    """An exhibit that is drawn from the profile's settings alone: no jobs, no seeds, a frame without lines."""
    return Exhibit(id, title, lambda p: (), lambda reader, p, seeds: pd.DataFrame(columns=list(COLUMNS)), "none")
