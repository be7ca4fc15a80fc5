"""The exhibits that are implemented: what each needs and how its numbers are read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from replib.experiments import sparsity_winning_twice as swt
from replib.experiments import swt_figures
from replib.experiments.cost import estimate, human
from replib.experiments.profiles import Profile, changed, profile
from replib.experiments.rows import Row, frame
from replib.experiments.runner import closure, run
from replib.root import printed_exhibits, project_root
from replib.spec import Job, ReplibError, SpecError, Task, task
from replib.store import Missing, Store
from replib.store.evidence import Evidence, Published, Reader

TRAIN_IN_NOTEBOOK_SECONDS = 120.0


@dataclass(frozen=True)
class Exhibit:
    """One table or figure: the jobs it is drawn from and the tidy frame they become.

    `seeds` says which declared number of seeds applies. `jobs(profile)` lists the jobs (parents are found by themselves);
    `read(reader, profile, seeds)` returns the tidy frame of what is done in all of them.
    """

    id: str
    title: str
    jobs: Callable[[Profile], Sequence[Job]]
    read: Callable[[Reader, Profile, Sequence[int]], pd.DataFrame]
    seeds: Literal["flagship", "ordering", "one"] = "ordering"
    rows: Callable[[Profile], list[Row]] | None = None  # of accuracies, where it has any
    page: bool = True  # False: shown on another exhibit's page

    def declared(self, p: Profile) -> int:
        """Number of seeds declared for this exhibit in profile `p`."""
        return {"flagship": p.flagship, "ordering": p.ordering, "one": 1}[self.seeds]

    def tasks(self, p: Profile, seeds: Sequence[int] | None = None) -> list[Task]:
        """The tasks of the exhibit itself, ancestors not included."""
        chosen = range(self.declared(p)) if seeds is None else [s for s in seeds if s < self.declared(p)]
        jobs = self.jobs(p)
        return [task(job, seed) for seed in chosen for job in jobs]


def rows_exhibit(
    id: str, title: str, rows: Callable[[Profile], list[Row]], seeds: Literal["flagship", "ordering"], *, page: bool = True
) -> Exhibit:
    """An exhibit that is a table of accuracies."""
    paper, _, name = id.partition("/")
    return Exhibit(
        id, title,
        lambda p: [job for row in rows(p) for job in row.jobs()],
        lambda reader, p, chosen: frame(reader, rows(p), chosen, paper=paper, exhibit=name),
        seeds, rows, page,
    )  # fmt: skip


EXHIBITS: dict[str, Exhibit] = {
    e.id: e
    for e in (
        rows_exhibit("sparsity_winning_twice/table_1", "Dense and ten sparse settings at 80 and 90 %", swt.table_1, "flagship"),
        rows_exhibit(
            "sparsity_winning_twice/table_1_controls", "Layer-wise shuffled twins of four settings of Table 1",
            swt.table_1_controls, "ordering", page=False,
        ),
        Exhibit(
            "sparsity_winning_twice/figure_1", "Robust train and test accuracy over epochs, dense to 90 %",
            swt_figures.figure_1_jobs, swt_figures.figure_1_read, rows=swt_figures.figure_1_rows,
        ),
        Exhibit(
            "sparsity_winning_twice/figure_5", "Loss surfaces of dense and 90 % sparse networks",
            swt_figures.figure_5_jobs, swt_figures.figure_5_read,
        ),
        Exhibit(
            "sparsity_winning_twice/figure_a8", "Similarity of masks by epoch between three training regimes",
            swt_figures.figure_a8_jobs, swt_figures.figure_a8_read,
        ),
        Exhibit(
            "sparsity_winning_twice/figure_a10", "Layer-wise sparsity of six initializations",
            swt_figures.figure_a10_jobs, swt_figures.figure_a10_read,
        ),
    )
}  # fmt: skip
FLAGSHIPS = ("sparsity_winning_twice/table_1",)


def exhibit(id: str) -> Exhibit:
    """The exhibit called `id`; the error says whether it is misspelt or still to come."""
    if id in EXHIBITS:
        return EXHIBITS[id]
    for known in EXHIBITS:
        if known.endswith(f"/{id}"):
            raise SpecError(f"exhibit = {id!r} lacks the paper's folder; write {known}.")
    if id in printed_exhibits(project_root()):
        raise SpecError(f"The runs of {id} are still to come. To see which exhibits are there, marked with *: replib list")
    near = difflib.get_close_matches(id, EXHIBITS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise SpecError(f"exhibit = {id!r} is not known. {hint}To see all ids: replib list")


def complete_seeds(e: Exhibit, p: Profile, reader: Reader, seeds: Sequence[int] | None = None) -> list[int]:
    """Seeds for which everything the exhibit needs is done: only whole comparisons are published."""
    chosen = range(e.declared(p)) if seeds is None else [s for s in seeds if s < e.declared(p)]
    return [s for s in chosen if all(reader.status(t) == "done" for t in closure(e.tasks(p, [s])))]


def evidence(p: Profile, root: Path | None = None) -> Evidence:
    """Where results of a profile are read from."""
    root = root or project_root()
    return Evidence(Store(root / "build" / "store"), Published(root / "results" / p.name))


@dataclass(frozen=True)
class Results:
    """What a notebook works with: the exhibit, its profile, the evidence and the tidy frame."""

    exhibit: Exhibit
    profile: Profile
    evidence: Evidence
    frame: pd.DataFrame

    @property
    def seeds(self) -> list[int]:
        """Seeds that are done in every row."""
        return sorted(int(s) for s in self.frame.seed.unique())


def results(id: str, profile_name: str = "laptop", changes: Mapping[str, float] | None = None, *, device: str = "cpu") -> Results:
    """The results of an exhibit for a notebook, read from the store and the published evidence.

    `changes` are fields of the profile's recipes, such as ``{"epochs": 5}``: other runs, with keys of their own.

    If no seed is complete, seed 0 is trained here and now, with a progress bar, when the estimate is under two minutes of one core;
    otherwise the error says which command makes it. A parent that is only published counts as well: its weights are made again.
    $REPLIB_PROFILE overrides the profile, which is how the tests run every notebook at the smallest one.
    """
    e, p = exhibit(id), changed(profile(os.environ.get("REPLIB_PROFILE", profile_name)), changes or {})
    found = evidence(p)
    chosen = range(e.declared(p))
    try:
        table = e.read(found, p, chosen)
    except Missing:
        wanting = [t for t in closure(e.tasks(p, [0])) if found.status(t) != "done"]
        todo = [t for t in closure(wanting) if found.store.status(t) != "done"]
        costs = {t: estimate(t, found.published, device) for t in todo}
        set_ = "".join(f" --set {name}={value}" for name, value in p.changes)
        if (seconds := sum(costs.values())) > TRAIN_IN_NOTEBOOK_SECONDS:
            raise ReplibError(
                f"{id} has no complete results in the profile {p.name!r}, and making them takes about {human(seconds)} on one "
                f"{'core' if device == 'cpu' else device}. Run: replib run {id} -p {p.name} --seeds 0{set_}"
            ) from None
        report = run(todo, found.store, device=device, cost=costs)
        if report.failed:
            raise ReplibError(next(iter(report.failed.values()))) from None
        table = e.read(found, p, chosen)
    return Results(e, p, found, table)


def reported(id: str) -> pd.DataFrame:
    """The papers' printed numbers of an exhibit, with the columns of results/reported; empty if it prints none."""
    paper, _, name = id.partition("/")
    path = project_root() / "results" / "reported" / f"{paper}__{name}.csv"
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path)
    return table.assign(exhibit=name, sparsity_percent=table.sparsity_percent.astype(float))
