"""Many tasks: parents first, the same bits on any number of workers, and what fails costs only what depends on it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import psutil
import pytest

from replib.experiments import jobs, runner
from replib.experiments.profiles import SMOKE
from replib.experiments.sparsity_winning_twice.tables import table_1
from replib.methods import Magnitude, Random, Ticket
from replib.spec import Job, ReplibError, parents, task
from replib.store import DiskFull, Store
from replib.store.folder import Output
from replib.training import loop

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")


@dataclass(frozen=True)
class Step(Job):
    """A toy job that may fail."""

    kind: ClassVar[str] = "step"
    name: str
    after: tuple[Job, ...] = ()
    fate: str = ""


ORDER: list[str] = []


def run_step(job, context):
    ORDER.append(job.name)
    if job.fate == "known":
        raise ReplibError("it cannot be. Change it.")
    if job.fate == "unknown":
        raise ZeroDivisionError("surprise")
    if job.fate == "full":
        raise DiskFull("full")
    return Output({"name": job.name})


@pytest.fixture(autouse=True)
def _steps(monkeypatch):
    monkeypatch.setitem(jobs.RUN, Step, run_step)
    ORDER.clear()


def names(tasks):
    return sorted(t.job.name for t in tasks)


# ---- plans ----------------------------------------------------------------------------------------------------------------
def test_parents_come_first_and_everything_once():
    rows = table_1(SMOKE)
    tasks = [task(j, s) for s in (0, 1) for r in rows for j in r.jobs()]
    plan = runner.closure([*tasks, *reversed(tasks)])
    assert len(plan) == len(set(plan)) == len({(t.name, t.seed) for t in plan})
    at = {t: i for i, t in enumerate(plan)}
    assert all(at[p] < at[t] for t in plan for p in runner.parents(t.job, t.seed))
    assert set(tasks) <= set(plan)


def test_what_two_exhibits_want_retained_is_retained_together():
    run = RECIPE.pgd_at()
    one, two = (task(replace(run, retain=kept), 0) for kept in (("weights",), ("masks@0.2", "weights")))
    (merged,) = runner.closure([one, two, task(run, 0)])
    assert set(merged.job.retain) == {"weights", "masks@0.2"}


# ---- failures --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fate", ["known", "unknown"])
def test_a_failure_loses_only_its_descendants(store, fate):
    good, bad = Step("good"), Step("bad", fate=fate)
    child, grandchild, other = Step("child", (bad,)), None, Step("other", (good,))
    grandchild = Step("grandchild", (child, good))
    report = runner.run([task(j, 0) for j in (bad, grandchild, other)], store, show=False)
    assert names(report.failed) == ["bad"]
    assert ("surprise" if fate == "unknown" else "cannot be") in report.failed[task(bad, 0)]
    assert names(report.skipped) == ["child", "grandchild"]
    assert names(report.done) == ["good", "other"]
    assert store.status(task(other, 0)) == "done"
    again = runner.run([task(j, 0) for j in (bad, grandchild, other)], store, show=False)
    assert names(again.done) == ["good", "other"]
    assert ORDER.count("good") == 1


def test_a_full_disk_stops_everything(store):
    with pytest.raises(DiskFull):
        runner.run([task(Step("a", fate="full"), 0), task(Step("b"), 0)], store, show=False)


def test_a_damaged_parent_is_made_again_before_its_child(store):
    parent, child = Step("parent"), Step("child", (Step("parent"),))
    runner.run([task(child, 0)], store, show=False)
    (store.folder(task(parent, 0)) / "environment.json").write_text("{}")
    store.discard(task(child, 0))
    ORDER.clear()
    assert not runner.run([task(child, 0)], store, show=False).failed
    assert ORDER == ["parent", "child"]


# ---- retention --------------------------------------------------------------------------------------------------------------
def test_a_done_run_asked_to_retain_more_is_run_again_and_matches(store):
    run = RECIPE.pgd_at(epochs=3)
    runner.run([task(run, 0)], store, show=False)
    before = store.summary(task(run, 0))
    more = task(replace(run, retain=("masks@0.2",)), 0)
    assert runner.run([more], store, show=False).done == [more]
    after = store.summary(more)
    for name in ("metrics.csv", "epoch_3.safetensors"):
        assert after["files"][name] == before["files"][name]
    masks = store.arrays(more)["retained/masks@0.2"]
    assert len(masks) == 3
    assert jobs.lacks(store, more) == []
    assert runner.run([task(run, 0)], store, show=False).done  # asked for less, it is only read
    assert len(store.arrays(more)["retained/masks@0.2"]) == 3


def test_a_run_that_comes_out_differently_is_no_silent_replacement(store, monkeypatch):
    run = RECIPE.pgd_at(epochs=1)
    jobs.execute(task(run, 0), store)
    plain = jobs.run_train
    monkeypatch.setitem(jobs.RUN, type(run), lambda job, context: changed(plain(job, context)))

    def changed(out):
        out.metrics[0]["val_ra"] += 1e-9
        return out

    before = store.summary(task(run, 0))
    for _ in range(2):  # and it is said each time: the first result is not replaced by the second
        with pytest.raises(jobs.Irreproducible, match="came out differently on the same machine"):
            jobs.execute(task(replace(run, retain=("masks@0.2",)), 0), store)
        assert store.summary(task(run, 0)) == before
        assert store.status(task(run, 0), deep=True) == "done"


def test_retained_weights_are_written_epoch_by_epoch_and_are_those_of_the_run(store, tmp_path):
    """Held until the end they would fill the memory at the papers' scale, and every saved state with them."""
    plain, keeping = task(RECIPE.pgd_at(epochs=4), 0), task(RECIPE.pgd_at(epochs=4, retain=("weights",)), 0)
    other = Store(tmp_path / "other")
    jobs.execute(plain, store)
    seen = []
    jobs.execute(keeping, other, progress=lambda n, of: seen.append(sorted(p.stem for p in other.folder(keeping).glob("*.safetensors"))))
    assert seen == [[f"epoch_{i}" for i in range(n + 1)] for n in (1, 2, 3, 4)]
    assert {f"epoch_{i}.safetensors" for i in range(5)} <= set(other.summary(keeping)["files"])
    ours, theirs = (s.summary(plain)["files"] for s in (store, other))
    common = {n for n in ours if n.endswith((".safetensors", ".csv"))}
    assert len(common) >= 3
    assert {n: ours[n] for n in common} == {n: theirs[n] for n in common}


def test_the_state_of_a_run_does_not_grow_with_the_weights_it_retains(store, monkeypatch):
    sizes = []
    monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0.0)
    run = task(RECIPE.pgd_at(epochs=5, retain=("weights",)), 0)
    jobs.execute(run, store, progress=lambda n, of: sizes.extend(p.stat().st_size for p in store.folder(run).glob("state.pt")))
    assert len(sizes) == 4
    assert max(sizes) < 1.1 * sizes[0]


# ---- workers ----------------------------------------------------------------------------------------------------------------
def family():
    dense = RECIPE.pgd_at(epochs=2)
    tickets = [Ticket(RECIPE.data, RECIPE.net, 0.3, rule) for rule in (Random(), Magnitude(dense))]
    return [task(RECIPE.pgd_at(epochs=2, ticket=t), 0) for t in tickets]


def bits(store, plan):
    return {(t.name, n): d for t in plan for n, (_, d) in store.summary(t)["files"].items() if n != "environment.json"}


def test_two_workers_make_the_bits_of_one(tmp_path):
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    for store, workers in ((one, 1), (two, 2)):
        report = runner.run(family(), store, workers=workers, show=False)
        assert not report.failed
        assert len(report.done) == 5
    plan = runner.closure(family())
    assert bits(one, plan) == bits(two, plan)


def test_a_message_of_a_worker_costs_the_main_process_no_search_through_the_plan(tmp_path, monkeypatch):
    """Plans have thousands of tasks and each worker reports progress five times a second."""
    asked = []
    monkeypatch.setattr(runner, "parents", lambda *a: asked.append(a) or parents(*a))
    tasks = [task(replace(RECIPE.pgd_at(), repeat=n), 0) for n in range(12)]
    report = runner.run(tasks, Store(tmp_path / "s"), workers=2, show=False)
    assert len(report.done) == len(tasks)
    assert len(asked) <= 3 * len(tasks)  # when the plan is made, when its graph is, and when a task's turn comes


def test_a_killed_worker_is_reported_and_the_rest_goes_on(tmp_path):
    """Kills the worker of the longest run as soon as that run holds its lock."""
    store, tasks = Store(tmp_path / "s"), family()
    victim = task(RECIPE.pgd_at(epochs=400), 0)

    def kill():
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for p in psutil.Process(os.getpid()).children():
                try:
                    if any(str(store.folder(victim)) in f.path for f in p.open_files()):
                        p.send_signal(signal.SIGKILL)
                        return
                except psutil.Error:
                    continue
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    ticket = Ticket(RECIPE.data, RECIPE.net, 0.3, Magnitude(victim.job))
    child, grandchild = task(ticket, 0), task(RECIPE.pgd_at(ticket=ticket), 0)
    report = runner.run([victim, grandchild, *tasks[:1]], store, workers=2, show=False)
    killer.join()
    assert report.skipped == [child, grandchild]
    assert list(report.failed) == [victim]
    assert "died (exit status -9)" in report.failed[victim]
    assert "give the same command again" in report.failed[victim]
    assert set(tasks[:1]) <= set(report.done)


def test_a_worker_whose_main_process_was_killed_ends_without_a_word(tmp_path, capfd):
    """A kill resets the pipe where unread answers lie in it; an end of file is what an orderly exit gives."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    theirs.send("an answer that nobody read")
    ours.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.signal, "signal", lambda *_: None)
        runner._worker(theirs, tmp_path, "cpu", None)


def test_a_class_that_a_worker_cannot_import_is_said_to_be_just_that(tmp_path):
    """The classes of a notebook live in its own process only."""
    Local = type("Local", (Step,), {"__module__": "__main__", "__qualname__": "Local"})
    import __main__

    __main__.Local = Local
    try:
        report = runner.run([task(Local("a"), 0), task(Local("b"), 0)], Store(tmp_path / "s"), workers=2, show=False)
    finally:
        del __main__.Local
    assert len(report.failed) == 2
    for why in report.failed.values():
        assert "cannot find a class of the job" in why
        assert why.endswith("or use one worker.")
