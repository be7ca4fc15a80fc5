"""What a notebook calls: results that are there are read, few that are missing are trained, many are a command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tiny

import replib
from replib.experiments import registry
from replib.experiments.cost import human
from replib.experiments.registry import exhibit, reported
from replib.spec import ReplibError, SpecError
from replib.store import Store

PROJECT = Path(__file__).resolve().parents[1]
REPORTED = PROJECT / "results" / "reported"


def nothing_trained(root):
    return not list((root / "build" / "store").rglob("metrics.csv"))


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A project in which nothing was ever made."""
    tiny.enter(monkeypatch, tmp_path)
    return tmp_path


# ---- results ------------------------------------------------------------------------------------------------------------------------
def test_what_is_missing_and_cheap_is_trained_with_progress(bare, capsys):
    found = replib.results(tiny.ID)
    assert found.seeds == [0]
    assert found.profile.name == "laptop"
    assert all(Store(bare / "build" / "store").status(t) == "done" for t in tiny.tasks(0))
    said = capsys.readouterr().err
    assert f"/{len(tiny.tasks(0))} jobs; " in said
    assert "100%" in said
    again = replib.results(tiny.ID)
    pd.testing.assert_frame_equal(again.frame, found.frame)
    assert "jobs" not in capsys.readouterr().err  # the second time it is only read


def test_what_is_missing_and_dear_is_a_command(bare, monkeypatch):
    monkeypatch.setattr(registry, "estimate", lambda t, *_: 100.0)
    minutes = human(len(tiny.tasks(0)) * 100)
    with pytest.raises(ReplibError, match=rf"no complete results .*about {minutes} .*Run: replib run {tiny.ID} -p laptop --seeds 0$"):
        replib.results(tiny.ID)
    assert nothing_trained(bare)


def test_the_price_holds_the_runs_that_only_the_evidence_has(project, monkeypatch):
    """A new evaluation of published runs needs their weights, which are not published: the runs are made again, and that is dear."""
    project.unmake()
    for folder in project.published.root.glob("evaluate-*"):
        shutil.rmtree(folder)
    monkeypatch.setattr(registry, "estimate", lambda t, *_: 100.0 if t.job.kind == "train" else 0.1)
    with pytest.raises(ReplibError, match="Run: replib run"):
        replib.results(tiny.ID)


def test_a_job_that_fails_in_a_notebook_says_why(bare, monkeypatch):
    from replib.experiments import jobs
    from replib.methods import Ticket

    def broken(job, context):
        raise ReplibError("there is no such mask. Draw another.")

    monkeypatch.setitem(jobs.RUN, Ticket, broken)
    with pytest.raises(ReplibError, match="no such mask"):
        replib.results(tiny.ID)


def test_published_results_are_read_and_nothing_is_trained(project):
    from_store = replib.results(tiny.ID)
    project.unmake()
    found = replib.results(tiny.ID)
    assert found.seeds == list(tiny.SEEDS)
    pd.testing.assert_frame_equal(found.frame, from_store.frame)
    assert nothing_trained(project.root)


def test_the_environment_overrides_the_profile(project, monkeypatch):
    monkeypatch.setenv("REPLIB_PROFILE", "laptop")
    assert replib.results(tiny.ID, "paper").profile.name == "laptop"
    monkeypatch.setenv("REPLIB_PROFILE", "smokes")
    with pytest.raises(SpecError, match="Did you mean 'smoke'"):
        replib.results(tiny.ID)


def test_an_exhibit_that_is_misspelt_is_named():
    with pytest.raises(SpecError, match=r"Did you mean sparsity_winning_twice/table_1\?"):
        exhibit("sparsity_winning_twice/tabel_1")


def test_seeds_beyond_the_declared_ones_are_never_planned():
    assert {t.seed for t in tiny.EXHIBIT.tasks(tiny.PROFILE)} == {0, 1}
    assert {t.seed for t in tiny.EXHIBIT.tasks(tiny.PROFILE, [1, 2, 7])} == {1}


# ---- printed numbers ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("id", registry.EXHIBITS)
def test_printed_numbers_come_as_they_stand_in_their_file(id):
    paper, _, name = id.partition("/")
    path = REPORTED / f"{paper}__{name}.csv"
    table = reported(id)
    if not path.exists():
        assert table.empty
        return
    plain = pd.read_csv(path)
    pd.testing.assert_series_equal(table.value, plain.value)
    assert set(table.exhibit) == {name}
    assert table.sparsity_percent.dtype == float
    assert {"setting", "metric", "value", "sparsity_percent"} <= set(table.columns)


def test_the_printed_table_1_holds_its_number_of_dense_robust_accuracy():
    table = reported("sparsity_winning_twice/table_1")
    dense = table[(table.setting == "Baseline") & (table.metric == "robust_accuracy_final")]
    assert list(dense.sparsity_percent) == [0.0]
    assert list(dense.value) == [43.61]


# ---- what has a page -----------------------------------------------------------------------------------------------------------------
def test_exhibits_without_a_complete_seed_have_no_page_yet(project, monkeypatch):
    from dataclasses import replace

    beside = replace(tiny.EXHIBIT, id="sparsity_winning_twice/table_2", jobs=lambda p: [r.clean for r in tiny.rows(p)])
    dear = replace(beside, id="sparsity_winning_twice/table_3", jobs=lambda p: [p.recipe(*tiny.CIFAR10).pgd_at(epochs=9)])
    drawn = replace(dear, id="sparsity_winning_twice/figure_2", seeds="none")
    for e in (beside, dear, drawn):
        monkeypatch.setitem(registry.EXHIBITS, e.id, e)
    found = [e.id.partition("/")[2] for e in registry.shown(tiny.PROFILE, project.both)]
    assert found == ["table_1", "table_2", "figure_2"]
    for t in tiny.EXHIBIT.tasks(tiny.PROFILE, [0]):  # one seed whole, the other not: that is enough
        if t.job.kind == "evaluate":
            project.unmake(t)
            break
    project.unpublish()
    assert "table_1" in [e.id.partition("/")[2] for e in registry.shown(tiny.PROFILE, project.both)]

    drawn = replace(tiny.EXHIBIT, beside=(dear.id,))
    monkeypatch.setitem(registry.EXHIBITS, drawn.id, drawn)  # whose page would lack what it shows besides
    assert "table_1" not in [e.id.partition("/")[2] for e in registry.shown(tiny.PROFILE, project.both)]


@pytest.mark.parametrize("e", [e for e in registry.EXHIBITS.values() if e.page], ids=lambda e: e.id)
def test_an_exhibit_names_what_its_page_shows_besides(e):
    page = (PROJECT / "notebooks" / f"{e.id}.ipynb").read_text()
    assert set(re.findall(r'results\(\\"([^\\]+)\\"', page)) - {e.id} == set(e.beside)
