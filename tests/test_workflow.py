"""The workflow: its profiles are understood, its graph is the plan's, and after a kill nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("snakemake", reason="the workflow extra is not installed: pip install -e '.[workflow]' -c constraints.txt")

REPO = Path(__file__).resolve().parents[1]
PROFILES = REPO / "workflow" / "profiles"
EXHIBIT = "sparsity_winning_twice/figure_1"


@pytest.fixture
def root(tmp_path):
    """A project folder of its own, so that nothing of the checkout's store is read or written."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reported").symlink_to(REPO / "results" / "reported")
    return tmp_path


def command(which: str, *more: str, setting: str = "seeds=0") -> list[str]:
    """Targets and options first: --config takes all words that follow it."""
    places = ["--snakefile", str(REPO / "workflow" / "Snakefile"), "--workflow-profile", str(PROFILES / which)]
    settings = ["profile=smoke", f"exhibits={EXHIBIT}", "batch_seconds=0.3", setting]
    return [sys.executable, "-m", "snakemake", *more, *places, "--config", *settings]


def environment(root: Path) -> dict[str, str]:
    return os.environ | {"REPLIB_ROOT": str(root), "OMP_NUM_THREADS": "1"}


def snakemake(root: Path, which: str, *more: str, **setting: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(which, *more, **setting), cwd=root, env=environment(root), capture_output=True, text=True, timeout=1200)


def options() -> set[str]:
    from snakemake.cli import get_argument_parser

    return {s.removeprefix("--") for a in get_argument_parser()._actions for s in a.option_strings}


@pytest.mark.parametrize("which", ["local", "slurm"])
def test_every_setting_of_a_profile_is_an_option_of_snakemake(which):
    if which == "slurm":
        pytest.importorskip("snakemake_executor_plugin_slurm", reason="the SLURM plugin is not installed")
    settings = yaml.safe_load((PROFILES / which / "config.yaml").read_text())
    assert settings
    assert set(settings) <= options()


@pytest.mark.slow
def test_the_slurm_profile_plans_the_same_graph_as_the_local_one(root):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the SLURM plugin is not installed")
    plans = {}
    for which in ("local", "slurm"):
        answer = snakemake(root, which, "--dry-run", "results")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        (written,) = (root / "build" / "workflow" / "smoke").glob("*.json")
        plans[which] = json.loads(written.read_text())["batches"]
    assert plans["local"] == plans["slurm"]
    batches = plans["local"]
    order = list(batches)
    tasks = [tuple(t) for b in batches.values() for t in b["tasks"]]
    assert len(tasks) == len(set(tasks)) > len(batches) > 1
    assert all(order.index(n) < order.index(b) for b in batches for n in batches[b]["needs"])


def test_a_setting_that_the_workflow_does_not_know_is_named(root):
    answer = snakemake(root, "local", "--dry-run", setting="seed=0")
    assert answer.returncode != 0
    assert "--config seed is not known" in answer.stdout + answer.stderr


def summaries(root: Path) -> dict[str, tuple[int, bytes]]:
    """When each summary was written, and what it says."""
    found = (root / "build" / "store").glob("*/*/summary.json")
    return {f"{p.parent.parent.name}/{p.parent.name}": (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


def planned(root: Path) -> list[tuple[str, int]]:
    (written,) = (root / "build" / "workflow" / "smoke").glob("*.json")
    return [tuple(t) for b in json.loads(written.read_text())["batches"].values() for t in b["tasks"]]


@pytest.mark.slow
def test_killed_midway_it_finishes_and_does_nothing_twice(root):
    log = open(root / "log", "w")  # noqa: SIM115
    process = subprocess.Popen(command("local", "results"), cwd=root, env=environment(root), stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 900  # a busy machine
    while len(summaries(root)) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)  # snakemake and what it started: a power cut
    process.wait()
    log.close()
    before = summaries(root)
    assert 5 <= len(before) < len(planned(root)), (root / "log").read_text()

    unlock = snakemake(root, "local", "--unlock")
    assert unlock.returncode == 0, unlock.stderr
    again = snakemake(root, "local", "results")
    assert again.returncode == 0, again.stdout + again.stderr
    after = summaries(root)
    assert set(after) == {f"{name}/{seed}" for name, seed in planned(root)}
    assert {n: after[n] for n in before} == before

    # One summary is cut short, one is deleted: exactly their two jobs are made again.
    names = sorted(n for n in after if n.startswith("evaluate-"))
    cut, gone = names[0], names[-1]
    (root / "build" / "store" / cut / "summary.json").write_bytes(after[cut][1][:40])
    (root / "build" / "store" / gone / "summary.json").unlink()
    repaired = snakemake(root, "local", "results")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    final = summaries(root)
    assert {n for n in final if final[n] != after[n]} == {cut, gone}
    assert set(final) == set(after)
