"""Comparing with published evidence: what must be equal, what may differ, and what is a problem."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replib import verify
from replib.experiments.exhibit import rows_exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import PROFILES, SMOKE
from replib.experiments.registry import EXHIBITS, evidence
from replib.experiments.rows import Row
from replib.experiments.runner import closure, run
from replib.store import files
from replib.store.evidence import publish

REPO = Path(__file__).resolve().parents[1]
ID = "sparsity_winning_twice/table_9"


def rows(p, **changes):
    recipe = p.recipe(*CIFAR10)
    return [Row(*CIFAR10, 0.0, "Baseline", recipe.pgd_at(epochs=2, **changes), recipe.test_attack())]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with one small exhibit, made here and published as it is."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reported").symlink_to(REPO / "results" / "reported")
    monkeypatch.setenv("REPLIB_ROOT", str(tmp_path))
    monkeypatch.setitem(EXHIBITS, ID, rows_exhibit(ID, "One row", rows, "ordering"))
    found = evidence(SMOKE)
    tasks = EXHIBITS[ID].tasks(SMOKE, [0])
    assert not run(tasks, found.store, show=False).failed
    publish(found.store, closure(tasks), found.published.root)
    return tmp_path


def compared(root, seeds=None):
    return verify.compare([ID], "smoke", root, seeds)


def reseal(path, change):
    """Alter a summary as a run with another outcome would have written it."""
    from replib.store.folder import _seal

    body = json.loads(path.read_text())
    change(body)
    files.write_json(path, body | {"seal": _seal(body)})


def test_what_is_as_published_is_identical(root):
    lines, problems = compared(root, [0])
    assert not problems
    assert "seeds 0: 3 jobs identical to the published ones, 0 differ, 0 not published" in lines[0]


def test_what_a_run_was_asked_to_retain_besides_is_no_difference(root, monkeypatch):
    """One exhibit retains weights that another does not ask for: `make reproduce` runs only one of them."""
    monkeypatch.setitem(EXHIBITS, ID, rows_exhibit(ID, "One row", lambda p: rows(p, retain=("weights", "masks@0.2")), "ordering"))
    found = evidence(SMOKE)
    assert not run(EXHIBITS[ID].tasks(SMOKE, [0]), found.store, show=False).failed
    assert found.store.results(EXHIBITS[ID].tasks(SMOKE, [0])[0])["retained"] == ["weights", "masks@0.2"]
    lines, problems = compared(root, [0])
    assert not problems
    assert "3 jobs identical" in lines[0]


@pytest.mark.parametrize("what", ["results", "metrics.csv", "arrays.npz"])
def test_a_difference_in_the_same_environment_is_a_problem(root, what):
    found = evidence(SMOKE)
    t = EXHIBITS[ID].tasks(SMOKE, [0])[0 if what == "metrics.csv" else 2]
    folder = found.store.folder(t)

    def change(body):
        if what == "results":
            body["results"]["final/test"]["loss"] += 1e-12
        else:
            body["files"][what] = [(folder / what).stat().st_size, files.sha256(folder / what)]

    if what == "metrics.csv":
        (folder / what).write_text((folder / what).read_text().replace("1", "2"))
    if what == "arrays.npz":
        arrays = files.read_arrays(folder / what)
        arrays["correct/final/test"] = np.invert(arrays["correct/final/test"])
        files.write_arrays(folder / what, arrays)
    reseal(folder / "summary.json", change)
    lines, problems = compared(root, [0])
    assert "2 jobs identical to the published ones, 1 differ" in lines[0]
    (problem,) = problems
    assert t.name in problem
    assert "a defect" in problem


def test_a_difference_on_another_machine_is_none(root):
    found = evidence(SMOKE)
    t = EXHIBITS[ID].tasks(SMOKE, [0])[0]
    path = found.store.folder(t) / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cpu": "another"}))

    def change(body):
        body["results"]["steps"] += 1
        body["files"]["environment.json"] = [path.stat().st_size, files.sha256(path)]

    reseal(found.store.folder(t) / "summary.json", change)
    lines, problems = compared(root, [0])
    assert "1 differ" in lines[0]
    assert not problems


@pytest.mark.parametrize("seeds", [None, [0]])
def test_a_damaged_job_is_a_problem_whether_or_not_its_seed_was_asked_for(root, seeds):
    t = EXHIBITS[ID].tasks(SMOKE, [0])[1]
    (evidence(SMOKE).store.folder(t) / "arrays.npz").unlink()
    _, (problem,) = compared(root, seeds)
    assert f"{t.name}/0" in problem
    assert "arrays.npz is gone" in problem
    assert problem.endswith(f"run: replib run {ID} -p smoke --seeds 0.")


def test_a_missing_job_is_a_problem_only_if_its_seed_was_asked_for(root):
    t = EXHIBITS[ID].tasks(SMOKE, [0])[1]
    evidence(SMOKE).store.discard(t)
    lines, problems = compared(root)
    assert not problems
    assert "no seed is complete here" in lines[0]
    _, (problem,) = compared(root, [0])
    assert problem.startswith(f"{ID}, seed 0 is not complete here")


def test_claims_whose_verdict_changes_are_named(root, monkeypatch):
    monkeypatch.setitem(PROFILES, "smoke", replace(SMOKE, watermark=""))
    outcomes = iter([("supported", "inconclusive"), ("inconclusive", "inconclusive")])  # with ours, published

    def records(profile, root, *, published_only):
        return [{"claim_id": i, "outcome": o} for i, o in zip("ab", next(outcomes), strict=True)]

    monkeypatch.setattr(verify, "records", records)
    monkeypatch.setattr(verify, "_job", lambda t, found: ("new", ""))
    lines, _ = compared(root, [0])
    assert "verdict changed: a: inconclusive -> supported" in lines
    assert not any(": b:" in line for line in lines)


def test_masks_that_are_not_published_are_compared_by_their_file(root):
    """Published evidence leaves masks out, but holds the checksum of the file that they are in."""
    found = evidence(SMOKE)
    t = EXHIBITS[ID].tasks(SMOKE, [0])[2]
    folder = found.store.folder(t)
    files.write_arrays(folder / "arrays.npz", files.read_arrays(folder / "arrays.npz") | {"mask/fc.weight": np.zeros(3, np.uint8)})
    reseal(
        folder / "summary.json",
        lambda s: s["files"].update({"arrays.npz": [(folder / "arrays.npz").stat().st_size, files.sha256(folder / "arrays.npz")]}),
    )
    _, (problem,) = compared(root, [0])
    assert "a defect" in problem


def test_a_number_that_is_lacking_here_is_outside(root, monkeypatch):
    found = evidence(SMOKE)
    e = EXHIBITS[ID]

    def read(reader, p, seeds):
        table = e.read(reader, p, [0])
        if reader is found.store:
            return table[table.metric != "best_epoch"]
        return pd.concat([table, table.assign(seed=1)])

    monkeypatch.setattr(verify, "complete_seeds", lambda *a: [0, 1])
    lines = verify._numbers(replace(e, read=read), SMOKE, found, [0])
    assert any("outside" in line and "best_epoch" in line for line in lines)
    assert sum("outside" in line for line in lines) == 1


def test_numbers_are_compared_by_data_set_and_network_and_without_a_sparsity_too(root, monkeypatch):
    """Pooled over data sets, a number that is off on one of them would hide in the range of the others."""
    found = evidence(SMOKE)
    e = EXHIBITS[ID]

    def read(reader, p, seeds):
        cells = {("CIFAR-10", "VGG-16", 80.0): 50.0, ("CIFAR-10", "ResNet-18", 80.0): 60.0, ("CIFAR-100", "VGG-16", 80.0): 20.0}
        cells[("CIFAR-100", "VGG-16", math.nan)] = 30.0
        rows = [(*cell, "OMP", "", name, s, v + s) for cell, v in cells.items() for s in (0, 1) for name in ("accuracy", *verify.TIMED)]
        table = pd.DataFrame(rows, columns=["dataset", "architecture", "sparsity_percent", "setting", "variant", "metric", "seed", "value"])
        if reader is found.store:
            table.loc[table.dataset == "CIFAR-100", "value"] += 15
            table.loc[table.metric != "accuracy", "value"] *= 9
        return table

    monkeypatch.setattr(verify, "complete_seeds", lambda *a: [0, 1])
    head, *lines = verify._numbers(replace(e, read=read), SMOKE, found, [0])
    assert "2 of 4 numbers within" in head
    assert [("CIFAR-100" in line, "80.0" in line) for line in lines] == [(True, True), (True, False)]


def test_damage_is_told_and_verdicts_wait(root, monkeypatch):
    monkeypatch.setitem(PROFILES, "smoke", replace(SMOKE, watermark=""))
    t = EXHIBITS[ID].tasks(SMOKE, [0])[1]
    (evidence(SMOKE).store.folder(t) / "arrays.npz").unlink()
    lines, problems = compared(root, [0])
    assert len(problems) == 1
    assert "verdicts were not compared: make the damaged jobs again first" in lines
