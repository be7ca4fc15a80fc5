"""Comparing fresh results with published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from replib.experiments.profiles import Profile
from replib.experiments.profiles import profile as get
from replib.experiments.registry import Exhibit, evidence, exhibit
from replib.experiments.runner import closure
from replib.spec import Task
from replib.store.environment import same_bits
from replib.store.evidence import Evidence, Reader

TIMED = ("train_seconds", "peak_memory_mib")


def complete_seeds(e: Exhibit, p: Profile, reader: Reader, seeds: Sequence[int] | None = None) -> list[int]:
    """Seeds for which everything the exhibit needs is done: only whole comparisons are published."""
    chosen = range(e.declared(p)) if seeds is None else seeds
    return [s for s in chosen if s < e.declared(p) and all(reader.status(t) == "done" for t in closure(e.tasks(p, [s])))]


def compare(ids: Sequence[str], profile: str, root: Path, seeds: Sequence[int] | None = None) -> tuple[list[str], list[str]]:
    """Lines for people and a list of problems.

    Every job done here that is published too is *identical* (the checksums of its metrics and arrays agree), or it differs: a defect on
    the same processor, versions and threads, and expected elsewhere, since adversarial training is chaotic. Then each number must lie
    within the published range over seeds, widened by half of it, or is called *outside*. Problems are missing or damaged jobs, and bit
    differences in the same environment.
    """
    p = get(profile)
    found = evidence(p, root)
    lines, problems = [], []
    for id in ids:
        e = exhibit(id)
        here = complete_seeds(e, p, found.store, seeds)
        if not here:
            lines.append(f"{id}: nothing was made here; make it with: replib run {id} -p {profile} --seeds 0")
            continue
        counts = {"identical": 0, "differs": 0, "new": 0}
        for s in here:
            for t in closure(e.tasks(p, [s])):
                kind, problem = _job(t, found, root)
                counts[kind] += 1
                problems += [problem] if problem else []
        lines.append(
            f"{id}: seeds {', '.join(map(str, here))}: {counts['identical']} jobs identical to the published ones, "
            f"{counts['differs']} differ, {counts['new']} not published"
        )
        if counts["differs"]:
            lines += _numbers(e, p, found, here)
    if seeds is None:
        return lines, problems
    for id in ids:
        lacking = [s for s in seeds if s < exhibit(id).declared(p) and s not in complete_seeds(exhibit(id), p, found.store, seeds)]
        problems += [f"{id}, seed {s} is not complete here; run: replib run {id} -p {profile} --seeds {s}." for s in lacking]
    return lines, problems


def _job(t: Task, found: Evidence, root: Path) -> tuple[str, str]:
    status = found.store.status(t, deep=True)
    if status != "done":
        return "differs", f"{t} is {status}; run it again."
    if found.published.status(t) != "done":
        return "new", ""
    mine, theirs = found.store.summary(t), found.published.summary(t)
    exact = [n for n in ("metrics.csv", "events.csv", "arrays.npz") if n in theirs["files"]]
    if mine["results"] == theirs["results"] and all(
        mine["files"].get(n, [0, ""])[1] == theirs["files"][n][1] for n in exact if n != "arrays.npz"
    ):
        return "identical", ""
    import json

    ours = json.loads(found.store.path(t, "environment.json").read_text())
    theirs_env = found.published.environments().get(theirs["environment"], {})
    if same_bits(ours, theirs_env):
        return "differs", (
            f"{t} differs from the published run although processor, versions and threads are the same: a defect, please report it."
        )
    return "differs", ""


def _numbers(e: Exhibit, p: Profile, found: Evidence, here: Sequence[int]) -> list[str]:
    published = complete_seeds(e, p, found.published)
    if len(published) < 2:
        return ["  too few published seeds for an interval"]
    keys = ["sparsity_percent", "setting", "variant", "metric"]
    ours = e.read(found.store, p, here)
    theirs = e.read(found.published, p, published)
    if not set(keys) <= set(ours.columns):
        return []
    ranges = theirs[~theirs.metric.isin(TIMED)].groupby(keys).value.agg(["min", "max"])
    mean = ours.groupby(keys).value.mean().reindex(ranges.index)
    slack = 0.5 * (ranges["max"] - ranges["min"])
    outside = (mean < ranges["min"] - slack) | (mean > ranges["max"] + slack)
    lines = [f"  {int((~outside).sum())} of {len(outside)} numbers within the published range over {len(published)} seeds"]
    lines += [f"  outside: {' '.join(map(str, index))} = {mean[index]:.4g}" for index in mean.index[np.asarray(outside)]]
    return lines
