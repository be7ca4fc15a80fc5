"""Comparing fresh results with published ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from replib.experiments.profiles import Profile
from replib.experiments.profiles import profile as get
from replib.experiments.registry import Exhibit, evidence, exhibit
from replib.experiments.runner import closure
from replib.spec import Task
from replib.store.environment import same_bits
from replib.store.evidence import Evidence
from replib.verdicts import complete_seeds, records

__all__ = ["compare", "complete_seeds"]

TIMED = ("train_seconds", "peak_memory_mib")
EXACT = ("metrics.csv", "events.csv", "arrays.npz")
"""Files whose recorded checksums must agree. Published arrays lack masks, so that checksums say more than the arrays do."""

PROBLEMS = ("defect", "damaged", "missing")


def compare(ids: Sequence[str], profile: str, root: Path, seeds: Sequence[int] | None = None) -> tuple[list[str], list[str]]:
    """Lines for people and a list of problems.

    Every job done here that is published too is *identical* (its results and the checksums of its metrics, events and arrays agree), or
    it differs: a defect on the same processor, versions and threads, and expected elsewhere, since adversarial training is chaotic. Then
    each number must lie within the published range over seeds, widened by half of it, or is called *outside*; and the claims whose
    verdict is another with what was made here than without it are named.

    Problems are bit differences in the same environment, and damaged or missing jobs: of `seeds`, or else of every seed that was begun,
    which is one of which something is here besides what complete exhibits share with it.
    """
    p = get(profile)
    found = evidence(p, root)
    plan = {(id, s): closure(exhibit(id).tasks(p, [s])) for id in ids for s in _seeds(exhibit(id), p, seeds)}
    state = {t: found.store.status(t, deep=True) for tasks in plan.values() for t in tasks}
    kinds = {t: _compared(t, found) if status == "done" else status.partition(":")[0] for t, status in state.items()}
    whole = [pair for pair, tasks in plan.items() if all(state[t] == "done" for t in tasks)]
    shared = {t for pair in whole for t in plan[pair]}
    begun = {pair for pair, tasks in plan.items() if seeds or pair in whole or any(state[t] != "missing" for t in tasks if t not in shared)}
    lines: list[str] = []
    problems: dict[str, tuple[str, str]] = {}  # by job, since exhibits share them: its kind and a sentence
    for id in ids:
        here = [s for i, s in plan if i == id and (i, s) in begun]
        counts = Counter(kinds[t] for s in here for t in plan[id, s])
        command = f"replib run {id} -p {profile} --seeds "
        if set(counts) <= {"missing"}:
            lines.append(f"{id}: nothing of its own was made here; make it with: {command}{here[0] if here else 0}")
        else:
            lines.append(
                f"{id}: seeds {', '.join(map(str, here))}: {counts['identical']} jobs identical to the published ones, "
                f"{counts['differs'] + counts['defect']} differ, {counts['new']} not published, {counts['missing']} missing, "
                f"{counts['damaged']} damaged"
            )
        if counts["differs"] or counts["defect"]:
            lines += _numbers(exhibit(id), p, found, [s for s in here if (id, s) in whole])
        for s in here:
            wanting = {str(t): (kinds[t], _problem(kinds[t], t, state[t], command + str(s))) for t in plan[id, s] if kinds[t] in PROBLEMS}
            if all(kinds[t] == "missing" for t in plan[id, s]):
                wanting = {f"{id}/{s}": ("missing", f"Nothing of {id}, seed {s}, was made here; run: {command}{s}.")}
            problems = wanting | problems
    worst_first = sorted(problems.values(), key=lambda problem: PROBLEMS.index(problem[0]))
    return lines + _verdicts(p, root, kinds), [text for _, text in worst_first]


def _seeds(e: Exhibit, p: Profile, seeds: Sequence[int] | None) -> list[int]:
    return [s for s in (range(e.declared(p)) if seeds is None else seeds) if s < e.declared(p)]


def _compared(t: Task, found: Evidence) -> str:
    """What a job done here is beside the published one: 'identical', 'differs', 'defect' or 'new'."""
    if found.published.status(t) != "done":
        return "new"
    mine, theirs = found.store.summary(t), found.published.summary(t)
    if _made(mine, theirs) == _made(theirs, mine):
        return "identical"
    ours = json.loads(found.store.path(t, "environment.json").read_text())
    return "defect" if same_bits(ours, found.published.environments().get(theirs["environment"], {})) else "differs"


def _made(summary: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree bit for bit. What a run was asked to retain is no part of it; masks that it retained lie among its arrays."""
    results = {n: value for n, value in summary["results"].items() if n != "retained"}
    masks = [{n for n in s["results"].get("retained", ()) if n.startswith("masks@")} for s in (summary, other)]
    exact = EXACT if masks[0] == masks[1] else EXACT[:2]
    return results | {f"file {n}": summary["files"][n][1] for n in exact if n in summary["files"]}


def _problem(kind: str, t: Task, state: str, command: str) -> str:
    if kind == "defect":
        return f"{t} differs from the published run although processor, versions and threads are the same: a defect, please report it."
    return f"{t} is {state}; run: {command}."


def _numbers(e: Exhibit, p: Profile, found: Evidence, here: Sequence[int]) -> list[str]:
    published = complete_seeds(e, p, found.published)
    if len(published) < 2:
        return ["  too few published seeds for an interval"]
    keys = ["sparsity_percent", "setting", "variant", "metric"]
    if not here:
        return ["  no seed is complete here, so that no number can be compared"]
    ours = e.read(found.store, p, here)
    theirs = e.read(found.published, p, published)
    if not set(keys) <= set(ours.columns):
        return []
    ranges = theirs[~theirs.metric.isin(TIMED)].groupby(keys).value.agg(["min", "max"])
    mean = ours.groupby(keys).value.mean().reindex(ranges.index)
    slack = 0.5 * (ranges["max"] - ranges["min"])
    within = (mean >= ranges["min"] - slack) & (mean <= ranges["max"] + slack)  # a number that is lacking here lies outside
    lines = [f"  {int(within.sum())} of {len(within)} numbers within the published range over {len(published)} seeds"]
    return lines + [f"  outside: {' '.join(map(str, index))} = {mean[index]:.4g}" for index in mean.index[~np.asarray(within)]]


def _verdicts(p: Profile, root: Path, kinds: Mapping[Task, str]) -> list[str]:
    """Which claims are judged otherwise with what was made here than from the published evidence alone."""
    found = set(kinds.values())
    if p.watermark or found <= {"missing"}:
        return []
    if "damaged" in found:
        return ["verdicts were not compared: make the damaged jobs again first"]
    if found <= {"identical", "missing"}:
        return ["no verdict changed"]
    before, after = ({r["claim_id"]: r["outcome"] for r in records(p.name, root, published_only=only)} for only in (True, False))
    changed = [f"verdict changed: {claim} from {before[claim]} to {after[claim]}" for claim in before if before[claim] != after[claim]]
    return changed or ["no verdict changed"]
