"""The exhibits that are implemented: what each needs and how its numbers are read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from replib.data import Data
from replib.experiments import (
    achieving_robustness_via_sparsity,
    adversarial_winning_tickets,
    double_win_lottery_tickets,
    sparsity_winning_twice,
    together,
)
from replib.experiments.cost import estimate, human
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import SOURCE
from replib.experiments.profiles import Profile, changed, profile
from replib.experiments.runner import closure, run
from replib.root import printed_exhibits, project_root
from replib.spec import ReplibError, SpecError, walk
from replib.store import Missing, Store
from replib.store.evidence import Evidence, Published, Reader

TRAIN_IN_NOTEBOOK_SECONDS = 120.0


PAPERS = (sparsity_winning_twice, achieving_robustness_via_sparsity, double_win_lottery_tickets, adversarial_winning_tickets, together)
EXHIBITS: dict[str, Exhibit] = {e.id: e for paper in PAPERS for e in paper.EXHIBITS}
"""Every exhibit that can be run, by id, in the order of the papers."""


def exhibit(id: str) -> Exhibit:
    """The exhibit called `id`; the error says whether it is misspelt or still to come."""
    if id in EXHIBITS:
        return EXHIBITS[id]
    if same := [known for known in EXHIBITS if known.endswith(f"/{id}")]:
        raise SpecError(f"exhibit = {id!r} lacks the paper's folder; write {' or '.join(same)}.")
    if id in printed_exhibits(project_root()):
        raise SpecError(f"The runs of {id} are still to come. To see which exhibits are there, marked with *: replib list")
    near = difflib.get_close_matches(id, EXHIBITS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise SpecError(f"exhibit = {id!r} is not known. {hint}To see all ids: replib list")


def exhibits(names: Sequence[str]) -> list[Exhibit]:
    """The exhibits called `names`, each once; the name of a paper's folder stands for all of its exhibits, no names for all there are."""
    found = [e for name in names for e in [e for e in EXHIBITS.values() if e.id.startswith(f"{name}/")] or [exhibit(name)]]
    return list({e.id: e for e in found}.values()) if names else list(EXHIBITS.values())


def with_pages(chosen: Sequence[Exhibit], p: Profile, published: Reader) -> list[Exhibit]:
    """`chosen`, and what their pages show besides unless seed 0 of it is published: without it the pages could not be made."""
    besides = (exhibit(id) for e in chosen for id in e.beside)
    return list({e.id: e for e in (*chosen, *(b for b in besides if not complete_seeds(b, p, published, [0])))}.values())


def check_changes(chosen: Sequence[Exhibit], p: Profile) -> None:
    """Raise :class:`~replib.spec.SpecError` if what `p` changes moves no run of the pages of `chosen`: numbers that stay where they are
    would read as a finding. Drawings have no runs, and show what is changed."""
    ids = {id for e in chosen for id in (e.id, *e.beside)}
    pages = [e for e in EXHIBITS.values() if e.id in ids or ids & set(e.beside)]

    def runs(q: Profile) -> set[str]:
        return {t.name for e in (*chosen, *pages) for t in e.tasks(q, [0])}

    if p.changes and runs(p) and runs(p) == runs(profile(p.name)):
        which = chosen[0].id if len(chosen) == 1 else "these exhibits"
        raise SpecError(
            f"changes: {', '.join(f'{name} = {value!r}' for name, value in p.changes)} moves no run of {which} in the profile {p.name!r}: "
            f"they have this already, or nothing in them depends on it. Change a field that they use."
        )


def complete_seeds(e: Exhibit, p: Profile, reader: Reader, seeds: Sequence[int] | None = None) -> list[int]:
    """Seeds for which everything the exhibit needs is done: only whole comparisons are published."""
    chosen = range(e.declared(p)) if seeds is None else [s for s in seeds if s < e.declared(p)]
    return [s for s in chosen if all(reader.status(t) == "done" for t in closure(e.tasks(p, [s])))]


def shown(p: Profile, reader: Reader) -> list[Exhibit]:
    """The exhibits with a page of their own of which at least one seed is complete, as of all that the page shows besides; a drawing
    needs none."""

    def complete(e: Exhibit) -> bool:
        return any(all(reader.status(t) == "done" for t in e.tasks(p, [seed])) for seed in range(e.declared(p)))

    return [e for e in EXHIBITS.values() if e.page and (e.seeds == "none" or all(map(complete, (e, *map(exhibit, e.beside)))))]


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
        """Seeds that are done in every row; none for a drawing, which has no runs."""
        return sorted(int(s) for s in self.frame.seed.unique())

    @property
    def data(self) -> list[Data]:
        """Data sets of the runs of one seed, in order of appearance; none for a drawing."""
        return self._data(self.exhibit)

    def stand_ins(self, table: pd.DataFrame | None = None) -> str:
        """Which data take the place of the papers', parts of the page with seeds of their own included: 'digits for CIFAR-10, scenes for
        SVHN'; nothing where the papers' own are used. With a `table` only those of its data sets, and of what networks were pre-trained on.
        """
        paper, _, stem = self.exhibit.id.partition("/")
        parts = (e for e in EXHIBITS.values() if e.part_of == stem and e.id.startswith(f"{paper}/"))
        found = [d for e in (self.exhibit, *parts) for d in self._data(e) if d.role.embedded]
        if table is not None and "dataset" in table:
            found = [d for d in found if d.role.stands_for in {*table.dataset, SOURCE[0]}]
        return ", ".join(dict.fromkeys(f"{d.name.replace('_', ' ')} for {d.role.stands_for}" for d in found))

    def _data(self, e: Exhibit) -> list[Data]:
        jobs = (t.job for t in e.tasks(self.profile, self.seeds[:1]))
        return list(dict.fromkeys(d for job in jobs for d in walk(job) if isinstance(d, Data)))


def results(id: str, profile_name: str = "laptop", changes: Mapping[str, float] | None = None, *, device: str = "cpu") -> Results:
    """The results of an exhibit for a notebook, read from the store and the published evidence.

    `changes` are fields of the profile's recipes, such as ``{"epochs": 5}``: other runs, with keys of their own.

    If no seed is complete, seed 0 is trained here and now, with a progress bar, when the estimate is under two minutes of one core;
    otherwise the error says which command makes it. A parent that is only published counts as well: its weights are made again.
    $REPLIB_PROFILE overrides the profile, which is how the tests run every notebook at the smallest one.
    """
    e, p = exhibit(id), changed(profile(os.environ.get("REPLIB_PROFILE", profile_name)), changes or {})
    check_changes([e], p)
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
