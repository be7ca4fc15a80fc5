"""Comparing fresh results with published ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from replib.experiments.exhibit import Exhibit
from replib.experiments.profiles import Profile
from replib.experiments.profiles import profile as get
from replib.experiments.registry import complete_seeds, evidence, exhibit
from replib.experiments.runner import closure
from replib.spec import Task
from replib.store.environment import same_bits
from replib.store.evidence import Evidence
from replib.verdicts import records

TIMED = ("train_seconds", "processor_seconds", "peak_memory_mib")
"""Metrics of the machine, not of the method."""


def compare(ids: Sequence[str], profile: str, root: Path, seeds: Sequence[int] | None = None) -> tuple[list[str], list[str]]:
    """Lines for people and a list of problems.

    Every job done here that is published too is *identical* (its results, tables and arrays agree to the bit), or it differs: a
    defect on the same processor, versions and threads, and expected elsewhere, since adversarial training is chaotic. Then each number
    must lie within the published range over seeds, widened by half of it, or is called *outside*, and claims whose verdict changes with
    what was made here are named. Problems are damaged jobs, seeds that were asked for and are not complete, and bit differences in the
    same environment.
    """
    p = get(profile)
    found = evidence(p, root)
    lines, problems, differs = [], [], 0
    for id in ids:
        e = exhibit(id)
        if not e.declared(p):
            lines.append(f"{id}: a drawing without runs; nothing to compare")
            continue
        here = complete_seeds(e, p, found.store, seeds)
        for s in sorted(set(range(e.declared(p)) if seeds is None else seeds) - set(here)):
            states = {t: found.store.status(t, deep=True) for t in closure(e.tasks(p, [s]))}
            again = f"run: replib run {id} -p {profile} --seeds {s}."
            harm = [f"{t} is {state}; {again}" for t, state in states.items() if state.startswith("damaged")]
            problems += harm or ([f"{id}, seed {s} is not complete here; {again}"] if states and seeds is not None else [])
        if not here:
            lines.append(f"{id}: no seed is complete here; make one with: replib run {id} -p {profile} --seeds 0")
            continue
        counts = {"identical": 0, "differs": 0, "new": 0}
        for s in here:
            for t in closure(e.tasks(p, [s])):
                kind, problem = _job(t, found)
                counts[kind] += 1
                problems += [problem] if problem else []
        lines.append(
            f"{id}: seeds {', '.join(map(str, here))}: {counts['identical']} jobs identical to the published ones, "
            f"{counts['differs']} differ, {counts['new']} not published"
        )
        if counts["differs"]:
            lines += _numbers(e, p, found, here)
        differs += counts["differs"] + counts["new"]
    if any(" is damaged: " in problem for problem in problems):
        lines.append("verdicts were not compared: make the damaged jobs again first")
    elif differs and not p.watermark:
        lines += _verdicts(profile, root)
    return lines, list(dict.fromkeys(problems))


def _verdicts(profile: str, root: Path) -> list[str]:
    """Claims that are judged otherwise with what was made here than by the published evidence alone."""
    with_ours, published = (records(profile, root, published_only=only) for only in (False, True))
    changed = [(a, b) for a, b in zip(with_ours, published, strict=True) if a["outcome"] != b["outcome"]]
    return [f"verdict changed: {a['claim_id']}: {b['outcome']} -> {a['outcome']}" for a, b in changed] or ["no verdict changed"]


def _job(t: Task, found: Evidence) -> tuple[str, str]:
    status = found.store.status(t, deep=True)
    if status != "done":
        return "differs", f"{t} is {status}; run it again."
    if found.published.status(t) != "done":
        return "new", ""
    mine, theirs = found.store.summary(t), found.published.summary(t)
    if _outcome(mine) == _outcome(theirs) and _same_arrays(t, found):
        return "identical", ""
    ours = json.loads(found.store.path(t, "environment.json").read_text())
    theirs_env = found.published.environments().get(theirs["environment"], {})
    if same_bits(ours, theirs_env):
        return "differs", (
            f"{t} differs from the published run although processor, versions and threads are the same: a defect, please report it."
        )
    return "differs", ""


def _outcome(summary: dict[str, Any]) -> tuple[Any, ...]:
    """What must agree of two summaries: results, and checksums of the tables. What a run was asked to retain besides may differ."""
    results = {k: v for k, v in summary["results"].items() if k != "retained"}
    return results, *(summary["files"].get(n) for n in ("metrics.csv", "events.csv"))


def _same_arrays(t: Task, found: Evidence) -> bool:
    """Whether the arrays are the same file; or, where masks of more epochs were retained, whether every published array lies here."""
    mine, theirs = found.store.summary(t), found.published.summary(t)
    masks = [{n for n in s["results"].get("retained", ()) if n.startswith("masks@")} for s in (mine, theirs)]
    if masks[0] == masks[1]:
        return mine["files"].get("arrays.npz") == theirs["files"].get("arrays.npz")
    published = found.published.arrays(t)
    here = found.store.arrays(t) if published else {}
    return all(n in here and np.array_equal(here[n], a, equal_nan=a.dtype.kind == "f") for n, a in published.items())


def _numbers(e: Exhibit, p: Profile, found: Evidence, here: Sequence[int]) -> list[str]:
    published = complete_seeds(e, p, found.published)
    if len(published) < 2:
        return ["  too few published seeds for an interval"]
    keys = ["dataset", "architecture", "sparsity_percent", "setting", "variant", "metric"]
    ours = e.read(found.store, p, here)
    theirs = e.read(found.published, p, published)
    for frame in (ours, theirs):
        frame[keys] = frame[keys].astype(object).where(frame[keys].notna(), "")  # groups of rows that have no sparsity too
    ranges = theirs[~theirs.metric.isin(TIMED)].groupby(keys).value.agg(["min", "max"])
    mean = ours.groupby(keys).value.mean().reindex(ranges.index)
    slack = 0.5 * (ranges["max"] - ranges["min"])
    outside = ~((mean >= ranges["min"] - slack) & (mean <= ranges["max"] + slack))  # so is a number that is lacking here
    lines = [f"  {int((~outside).sum())} of {len(outside)} numbers within the published range over {len(published)} seeds"]
    lines += [f"  outside: {' '.join(map(str, index))} = {mean[index]:.4g}" for index in mean.index[np.asarray(outside)]]
    return lines
