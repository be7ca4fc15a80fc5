"""Profiles, and what a reader changes in one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import replib
from replib.experiments.places import CIFAR10, CIFAR100
from replib.experiments.profiles import LAPTOP, PROFILES, SMOKE, changed
from replib.experiments.registry import EXHIBITS, check_changes
from replib.root import project_root
from replib.spec import SpecError

PAGE = project_root() / "book" / "howto" / "change_a_parameter.md"


def test_changes_reach_every_recipe_and_move_every_key_they_reach():
    p = changed(LAPTOP, {"epochs": 15, "eps": 0.1})
    assert all((r.epochs, r.eps) == (15, 0.1) for r in p.recipes.values())
    assert (p.label, p.name) == ("laptop-epochs=15-eps=0.1", "laptop")
    before, after = (EXHIBITS["sparsity_winning_twice/table_1"].tasks(q, [0]) for q in (LAPTOP, p))
    moved = [a.name != b.name for a, b in zip(before, after, strict=True) if a.job.kind in ("train", "evaluate")]
    assert moved
    assert all(moved)
    assert changed(LAPTOP, {}) is LAPTOP


@pytest.mark.parametrize(
    ("changes", "said"), [({"epoch": 5}, "epochs"), ({"epochs": 5.5}, "int"), ({"eps": "0.1"}, "float"), ({"net": 3}, "must be")]
)
def test_changes_that_mean_nothing_are_refused(changes, said):
    with pytest.raises(SpecError, match=said):
        changed(SMOKE, changes)


def test_values_that_no_run_can_have_are_refused_by_the_runs():
    p = changed(SMOKE, {"eps": -0.1})
    with pytest.raises(SpecError, match="eps"):
        EXHIBITS["sparsity_winning_twice/table_1"].tasks(p, [0])


def test_a_change_that_moves_no_run_is_refused():
    with pytest.raises(SpecError, match=r"train_step = 0\.5 moves no run of adversarial_winning_tickets/figure_6"):
        replib.results("adversarial_winning_tickets/figure_6", "smoke", {"train_step": 0.5})
    with pytest.raises(SpecError, match=f"epochs = {SMOKE.recipe(*CIFAR10).epochs} moves no run"):
        replib.results("sparsity_winning_twice/table_1", "smoke", {"epochs": SMOKE.recipe(*CIFAR10).epochs})


def test_a_change_may_move_a_part_of_a_page_or_a_drawing():
    paper = "achieving_robustness_via_sparsity"
    same = {LAPTOP.recipe(*CIFAR100).eps: "eps", LAPTOP.recipe(*CIFAR100).batch: "batch"}
    for value, name in same.items():  # what CIFAR-100's part of the table has already, and the rest of it has not
        for part in ("table_3", "table_3_cifar100"):
            check_changes([EXHIBITS[f"{paper}/{part}"]], changed(LAPTOP, {name: value}))
    check_changes([EXHIBITS["sparsity_winning_twice/figure_2"]], changed(LAPTOP, {"epochs": 6}))
    check_changes([EXHIBITS["sparsity_winning_twice/table_1"]], changed(LAPTOP, {"batch": 100, "accumulate": 50}))


def test_only_the_smoke_profile_is_tiny():
    assert [name for name, p in PROFILES.items() if p.tiny] == ["smoke"]


def test_the_page_that_explains_changes_names_fields_that_exist():
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S).group(1)
    given: dict = {}
    exec(block, given)
    assert changed(PROFILES[given["profile"]], given["changes"]).changes == tuple(given["changes"].items())


def test_a_changed_exhibit_is_trained_in_the_notebook_and_not_judged(tmp_path):
    """In a process of its own, with a project folder of its own."""
    for name in ("results/reported", "replib", "notebooks"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(project_root() / name)
    (tmp_path / "pyproject.toml").symlink_to(project_root() / "pyproject.toml")
    program = (
        "import json, replib; from replib import verdicts\n"
        "r = replib.results('sparsity_winning_twice/figure_a8', 'smoke', {'epochs': 2})\n"
        "print(json.dumps([sorted(r.frame.metric.unique()), r.profile.label, verdicts.show(r).data]))"
    )
    env = {k: v for k, v in os.environ.items() if k != "REPLIB_PROFILE"} | {"REPLIB_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    metrics, label, verdict = json.loads(done.stdout.splitlines()[-1])
    assert "mask_similarity" in metrics
    assert label == "smoke-epochs=2"
    assert "Not judged" in verdict
    assert "elapsed" in done.stderr  # a progress bar


def test_a_misspelt_change_is_refused_where_the_notebook_asks():
    with pytest.raises(SpecError, match="epochs"):
        replib.results("sparsity_winning_twice/table_1", "smoke", {"epoch": 2})
