"""What is published belongs to the present plan, and the README says what the scoreboard says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replib import summary
from replib.experiments.profiles import PROFILES
from replib.experiments.registry import EXHIBITS
from replib.experiments.runner import closure
from replib.store.evidence import Published

ROOT = Path(__file__).resolve().parents[1]
PROFILES_WITH_EVIDENCE = [n for n in PROFILES if (ROOT / "results" / n).is_dir()]


@pytest.mark.parametrize("name", PROFILES_WITH_EVIDENCE)
def test_every_published_job_is_in_the_plan(name):
    planned = {t.name for e in EXHIBITS.values() for t in closure(e.tasks(PROFILES[name]))}
    published = {p.parent.name for p in (ROOT / "results" / name).glob("*/summaries.jsonl")}
    assert published, "a results folder without evidence"
    assert published <= planned, "published jobs that no exhibit asks for any more: remove their folders"


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
