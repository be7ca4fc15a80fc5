"""What is published belongs to the present plan, and the README says what the scoreboard says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replib import summary
from replib.experiments.profiles import PROFILES
from replib.experiments.registry import EXHIBITS
from replib.experiments.runner import closure
from replib.spec import key, resolved
from replib.store.evidence import Published

ROOT = Path(__file__).resolve().parents[1]
PROFILES_WITH_EVIDENCE = [n for n in PROFILES if (ROOT / "results" / n).is_dir()]


@pytest.mark.parametrize("name", PROFILES_WITH_EVIDENCE)
def test_every_published_job_is_in_the_plan(name):
    planned = {t.name for e in EXHIBITS.values() for t in closure(e.tasks(PROFILES[name]))}
    published = {p.parent.name for p in (ROOT / "results" / name).glob("*/summaries.jsonl")}
    assert published, "a results folder without evidence"
    assert published <= planned, "published jobs that no exhibit asks for any more: remove their folders"


def differences(published: object, now: object, where: str = "spec") -> list[str]:
    """Where a published spec says something else than the present one. A field added since is at its default; names are no part of keys."""
    if isinstance(published, dict) and isinstance(now, dict):
        fields = (f for f in published if f not in ("name", "retain"))
        return [d for f in fields for d in differences(published[f], now.get(f, "no such field"), f"{where}.{f}")]
    if isinstance(published, list) and isinstance(now, list) and len(published) == len(now):
        return [d for i, pair in enumerate(zip(published, now, strict=True)) for d in differences(*pair, f"{where}[{i}]")]
    return [] if published == now else [f"{where} was {published!r} and is {now!r}"]


@pytest.mark.parametrize("name", PROFILES_WITH_EVIDENCE)
def test_published_evidence_was_made_with_what_its_jobs_say_today(name):
    """A key leaves out what is at its default, so that a changed default would pass old evidence off as its own: raise the version."""
    for job in {t.name: t.job for e in EXHIBITS.values() for t in closure(e.tasks(PROFILES[name]))}.values():
        path = ROOT / "results" / name / f"{job.kind}-{key(job)}" / "spec.json"
        if path.exists():
            changed = differences(json.loads(path.read_text())["spec"], json.loads(json.dumps(resolved(job))))
            assert not changed, f"{path.parent.name} ({job.label()}): {'; '.join(changed)}"


@pytest.mark.parametrize("name", PROFILES_WITH_EVIDENCE)
def test_published_summaries_name_known_environments_and_their_own_job(name):
    published = Published(ROOT / "results" / name)
    known = published.environments()
    for path in published.root.glob("*/summaries.jsonl"):
        for line in path.read_text().splitlines():
            s = json.loads(line)
            assert s["task"] == path.parent.name
            assert s["environment"] in known


def test_the_readme_holds_what_the_scoreboard_says():
    text = (ROOT / "README.md").read_text()
    assert summary.fill(text, summary.current(ROOT)) == text, "README.md is stale: run replib publish"


def test_no_evidence_of_a_profile_whose_numbers_mean_nothing():
    assert not (ROOT / "results" / "smoke").exists()
