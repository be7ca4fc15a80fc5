"""Comparing what was made here with what is published: bits where the machine is the same, ranges elsewhere, nothing passed over."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tiny

from replib.experiments.registry import EXHIBITS, rows_exhibit
from replib.spec import task
from replib.verify import compare

DENSE, PRUNED = (row.run for row in tiny.rows(tiny.PROFILE))
ROBUST = tiny.rows(tiny.PROFILE)[0].robust
JOBS = len(tiny.tasks(0))


def verify(project, seeds=None, ids=(tiny.ID,)):
    lines, problems = compare(ids, tiny.PROFILE.name, project.root, seeds)
    return "\n".join(lines), problems


def altered(name):
    """A change to a published summary: one of its files had other bits."""

    def change(summary):
        size, digest = summary["files"][name]
        summary["files"][name] = [size, digest[::-1]]

    return change


def elsewhere(project):
    """From now on all evidence was made on another processor."""
    path = project.published.root / "environments.json"
    path.write_text(json.dumps({name: e | {"cpu": "another"} for name, e in json.loads(path.read_text()).items()}))


# ---- bits ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seeds", [None, [1]])
def test_what_was_published_from_here_is_identical(project, seeds):
    said, problems = verify(project, seeds)
    count = JOBS * len(seeds or tiny.SEEDS)
    assert f"{count} jobs identical to the published ones, 0 differ, 0 not published, 0 missing, 0 damaged" in said
    assert "no verdict changed" in said
    assert problems == []


@pytest.mark.parametrize(("job", "file"), [(DENSE, "metrics.csv"), (PRUNED, "arrays.npz"), (ROBUST, "arrays.npz")])
def test_other_bits_on_the_same_machine_are_a_problem(project, job, file):
    project.republish(task(job, 1), altered(file))
    said, problems = verify(project)
    assert "1 differ" in said
    (problem,) = problems
    assert problem.startswith(str(task(job, 1)))
    assert "a defect, please report it" in problem


def test_other_results_with_the_same_files_are_a_problem_too(project):
    project.republish(task(DENSE, 0), lambda s: s["results"].update(lr_times_decay=7.0))
    assert len(verify(project)[1]) == 1


def test_other_bits_on_another_machine_are_expected(project):
    elsewhere(project)
    project.republish(task(DENSE, 1), altered("metrics.csv"))
    said, problems = verify(project)
    assert "1 differ" in said
    assert "outside" not in said
    assert problems == []


def test_asking_a_run_to_retain_more_is_no_difference(project):
    """The published dense run kept every epoch's weights, since a figure asks for them."""
    project.republish(task(DENSE, 0), lambda s: s["results"].update(retained=["weights"]))
    assert "0 differ" in verify(project)[0]


def test_retained_masks_lie_among_the_arrays_and_make_them_other_files(project):
    def change(summary):
        altered("arrays.npz")(summary)
        summary["results"]["retained"] = ["masks@0.2"]

    project.republish(task(PRUNED, 0), change)
    assert "0 differ" in verify(project)[0]


# ---- ranges -------------------------------------------------------------------------------------------------------------------------
def shifted(by):
    def change(summary):
        summary["results"]["final/test"]["accuracy"] += by

    return change


def test_numbers_outside_the_published_range_are_named_and_are_no_problem(project):
    elsewhere(project)
    for seed in tiny.SEEDS:
        project.republish(task(ROBUST, seed), shifted(1000.0))
    said, problems = verify(project)
    named = [line for line in said.splitlines() if line.startswith("  outside: ")]
    assert "  outside: 0.0 Baseline  robust_accuracy_final" in said
    assert {line.split("=")[0].split()[-1] for line in named} == {
        "robust_accuracy_final", "robust_accuracy_diff", "robust_generalization_gap", "robust_generalization_gap_reduction",
    }  # fmt: skip
    assert all("Baseline" in line or "reduction" in line for line in named)
    assert problems == []


def test_a_number_between_the_published_seeds_is_within(project):
    elsewhere(project)
    project.republish(task(ROBUST, 0), shifted(-1000.0))
    project.republish(task(ROBUST, 1), shifted(1000.0))
    said, _ = verify(project)
    assert "outside" not in said
    assert "numbers within the published range over 2 seeds" in said


# ---- damage and what is missing -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seeds", [None, [0]])
def test_damage_is_named_whether_seeds_are_given_or_not(project, seeds):
    damaged = task(PRUNED, 0)
    path = project.store.folder(damaged) / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"epoch", b"hcope"))  # as many bytes: only the checksum tells
    said, problems = verify(project, seeds)
    assert "0 missing, 1 damaged" in said
    assert "verdicts were not compared" in said
    (problem,) = problems
    assert problem.startswith(f"{damaged} is damaged: {path} does not match its checksum")
    assert problem.endswith(f"run: replib run {tiny.ID} -p laptop --seeds 0.")


@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_a_missing_job_of_a_seed_that_was_begun_is_named(project, seeds):
    gone = task(ROBUST, 1)
    project.unmake(gone)
    said, problems = verify(project, seeds)
    assert f"seeds 0, 1: {2 * JOBS - 1} jobs identical" in said
    assert problems == [f"{gone} is missing; run: replib run {tiny.ID} -p laptop --seeds 1."]


def test_what_is_worst_is_told_first(project):
    project.unmake(task(ROBUST, 0))
    (project.store.folder(task(ROBUST, 1)) / "arrays.npz").unlink()
    project.republish(task(PRUNED, 1), altered("metrics.csv"))
    problems = verify(project)[1]
    assert [p.split("(")[0].split("/")[1][0] for p in problems] == ["1", "1", "0"]
    assert "a defect" in problems[0]
    assert "is gone" in problems[1]


def test_nothing_made_is_said_with_its_command_and_is_a_problem_only_if_seeds_were_asked_for(project):
    project.unmake()
    said, problems = verify(project)
    assert said == f"{tiny.ID}: nothing of its own was made here; make it with: replib run {tiny.ID} -p laptop --seeds 0"
    assert problems == []
    said, problems = verify(project, [1])
    assert said.endswith("--seeds 1")
    assert problems == [f"Nothing of {tiny.ID}, seed 1, was made here; run: replib run {tiny.ID} -p laptop --seeds 1."]


def test_seeds_that_nobody_began_are_no_problem_unless_asked_for(project):
    project.unmake(*tiny.tasks(1))
    said, problems = verify(project)
    assert f"seeds 0: {JOBS} jobs identical" in said
    assert problems == []
    assert len(verify(project, [0, 1])[1]) == 1


def test_runs_that_a_whole_exhibit_made_do_not_begin_another_exhibit(project, monkeypatch):
    def rows(p):
        longer = [replace(r, run=replace(r.run, epochs=2)) for r in tiny.rows(p)]
        return [*tiny.rows(p), *longer]

    other = rows_exhibit("sparsity_winning_twice/figure_1", "Shares two runs", rows, "ordering")
    monkeypatch.setitem(EXHIBITS, other.id, other)
    said, problems = verify(project, ids=(tiny.ID, other.id))
    assert f"{other.id}: nothing of its own was made here" in said
    assert problems == []
    assert len(verify(project, [0], ids=(tiny.ID, other.id))[1]) == len(other.tasks(tiny.PROFILE, [0])) - 6


# ---- verdicts -------------------------------------------------------------------------------------------------------------------------
def test_a_verdict_that_what_was_made_here_changes_is_told(project):
    project.unpublish()
    said, problems = verify(project)
    assert f"{2 * JOBS} not published" in said
    told = [line for line in said.splitlines() if line.startswith("verdict changed")]
    assert "verdict changed: swt_dense_overfits from no results yet to by construction" in told
    assert "no verdict changed" not in said
    assert problems == []


def test_other_bits_may_leave_all_verdicts_as_they_are(project):
    elsewhere(project)
    project.republish(task(DENSE, 1), altered("metrics.csv"))
    assert verify(project)[0].splitlines()[-1] == "no verdict changed"


def test_a_profile_that_decides_nothing_has_no_verdicts_to_change(project, monkeypatch):
    from replib.experiments import profiles

    project.unpublish()
    monkeypatch.setitem(profiles.PROFILES, "laptop", replace(tiny.PROFILE, watermark="numbers that mean nothing"))
    assert "verdict" not in verify(project)[0]
