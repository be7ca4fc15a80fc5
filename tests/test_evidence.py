"""Published evidence says the same as the store that it was copied from."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from replib.experiments.places import CIFAR10
from replib.experiments.profiles import SMOKE
from replib.experiments.rows import Row, frame
from replib.experiments.runner import closure, run
from replib.experiments.sparsity_winning_twice.runs import sparse
from replib.spec import ReplibError, task
from replib.store import Missing, Store
from replib.store.evidence import Evidence, Published, publish


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a dense and a Flying Bird row at the smallest scale, and the same published."""
    root = tmp_path_factory.mktemp("evidence")
    recipe = SMOKE.recipe(*CIFAR10)
    bird = sparse(recipe, "Flying Bird", 0.2)[0]
    rows = [
        Row(*CIFAR10, 0.0, "Baseline", recipe.pgd_at(name="Baseline"), recipe.test_attack()),
        Row(*CIFAR10, 80.0, "Flying Bird", bird, recipe.test_attack()),
    ]
    store, published = Store(root / "store"), Published(root / "results")
    tasks = closure([task(job, 0) for row in rows for job in row.jobs()])
    assert not run(tasks, store, show=False).failed
    publish(store, tasks, published.root)
    return store, published, rows, tasks


def test_frames_from_published_evidence_equal_those_from_the_store(made):
    store, published, rows, _ = made
    ours, theirs = (frame(reader, rows, [0], paper="p", exhibit="e") for reader in (store, published))
    pd.testing.assert_frame_equal(ours, theirs)


def test_published_evidence_holds_no_weights_and_no_masks(made):
    store, published, _, tasks = made
    for t in tasks:
        assert not [n for n in published.arrays(t) if n.startswith(("mask/", "ticket@", "retained/"))]
    assert not list(published.root.rglob("*.safetensors"))
    assert any(n.startswith("mask/") for t in tasks for n in _names(store, t))  # there were some to leave out


def _names(store, t):
    return store.arrays(t) if "arrays.npz" in store.summary(t)["files"] else {}


def test_publishing_twice_changes_nothing_and_publishing_what_is_missing_is_refused(made):
    store, published, rows, tasks = made
    before = {p: p.read_bytes() for p in published.root.rglob("*") if p.is_file() and p.suffix != ".npz"}
    publish(store, tasks, published.root)
    assert before == {p: p.read_bytes() for p in before}
    with pytest.raises(Missing, match="replib run --key"):
        publish(store, [task(rows[0].run, 1)], published.root)


def test_the_store_is_read_before_the_published_evidence(made, tmp_path):
    store, published, rows, tasks = made
    both = Evidence(Store(tmp_path / "empty"), published)
    assert both.where(tasks[0]) == "published"
    assert Evidence(store, published).where(tasks[0]) == "here"
    assert both.where(task(rows[0].run, 7)) == "missing"


def test_published_checksums_are_of_the_exact_files(made):
    store, published, _, tasks = made
    for t in tasks:
        assert published.summary(t)["files"] == store.summary(t)["files"]
        line = json.loads((published.root / t.name / "summaries.jsonl").read_text().splitlines()[0])
        assert line["environment"] in published.environments()


@pytest.mark.parametrize(
    ("name", "left"), [("summaries.jsonl", 100), ("arrays.npz", 100), ("arrays.npz", 0), ("metrics.csv", 0), ("environments.json", 100)]
)
def test_damaged_evidence_is_named_with_the_way_to_restore_it(made, tmp_path, name, left):
    _, published, rows, _ = made
    t = task(rows[0].robust if name == "arrays.npz" else rows[0].run, 0)
    copy = Published(tmp_path / "results")
    shutil.copytree(published.root, copy.root)
    path = copy.root / name if name == "environments.json" else copy.root / t.name / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ReplibError, match=rf"{name} is damaged .*; restore it with: git checkout -- "):
        assert all((copy.environments(), copy.arrays(t), len(copy.table(t)), copy.results(t)))
