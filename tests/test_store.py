"""What is done is whole; what is damaged is named and made again; what is finished survives a full disk."""

from __future__ import annotations

import csv
import errno
import os
import random
import resource
import signal
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from replib.experiments import jobs
from replib.spec import Job, task
from replib.store import Damaged, DiskFull, Missing, Store, files
from replib.store.environment import Meter, environment_id, same_bits
from replib.store.folder import Output


@dataclass(frozen=True)
class Toy(Job):
    """A job that takes no time."""

    kind: ClassVar[str] = "toy"
    size: int = 10
    source: Job | None = None


MADE: list[int] = []


def run_toy(job, context):
    MADE.append(job.size)
    x = np.arange(job.size, dtype=np.float64)
    return Output(
        {"sum": float(x.sum())}, [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 0.3, "late": True}], [{"event": "x"}], {"x": x},
        {"final": {"w": torch.arange(3.0)}},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setitem(jobs.RUN, Toy, run_toy)
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # no test here pulls a plug, and some disks take long
    MADE.clear()


T = task(Toy(), 3)
FILES = {"spec.json", "environment.json", "metrics.csv", "events.csv", "arrays.npz", "final.safetensors"}


def test_a_job_is_made_once_and_read_afterwards(store):
    assert store.status(T) == "missing"
    with pytest.raises(Missing, match=rf"replib run --key {T.name} --seeds 3$"):
        store.results(T)
    first = jobs.execute(T, store)
    assert jobs.execute(T, store) == first
    assert MADE == [10]
    assert set(first["files"]) == FILES
    assert store.status(T, deep=True) == "done"
    assert store.results(T) == {"sum": 45.0}
    assert np.array_equal(store.arrays(T)["x"], np.arange(10.0))
    assert torch.equal(store.weights(T, "final")["w"], torch.arange(3.0))
    table = store.table(T)
    assert (table.epoch.tolist(), table.loss.tolist(), table.late.isna().tolist()) == ([1, 2], [0.1, 0.3], [True, False])
    assert store.table(T, "nothing").empty


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << (at % 8)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("harm", ["truncated", "flipped", "deleted"])
def test_damage_is_named_and_the_job_made_again(store, name, harm):
    before = jobs.execute(T, store)
    path = store.folder(T) / name
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "flipped":
        flip(path, path.stat().st_size // 2)
    else:
        path.unlink()
    status = store.status(T, deep=True)
    assert status.startswith(f"damaged: {path} ")
    assert store.status(T) == ("done" if harm == "flipped" else status)  # sizes only
    with pytest.raises(Damaged, match=rf"{name}.*replib run --key {T.name} --seeds 3 makes it again"):
        store.path(T, name)
    after = jobs.execute(T, store)
    assert store.status(T, deep=True) == "done"
    assert MADE == [10, 10]
    same = FILES - {"environment.json"}
    assert {n: after["files"][n] for n in same} == {n: before["files"][n] for n in same}


@pytest.mark.parametrize("stride", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flipped_bit_of_a_summary_goes_unnoticed(store, stride):
    jobs.execute(T, store)
    whole = store.summary(T)
    path = store.folder(T) / "summary.json"
    good = path.read_bytes()
    for at in range(0, len(good), stride):
        flip(path, at)
        try:
            found = store.summary(T)
        except Damaged as e:
            found = str(e)
        assert found == whole or "summary.json" in found, at  # white space and the case of an exponent mean nothing
        path.write_bytes(good)
    for cut in (0, 1, len(good) // 2, len(good) - 3):
        path.write_bytes(good[:cut])
        assert store.status(T).startswith(f"damaged: {path} ")
    jobs.execute(T, store)
    assert store.status(T, deep=True) == "done"


def test_a_summary_in_the_wrong_folder_is_no_result(store):
    jobs.execute(T, store)
    other = task(Toy(), 4)
    store.folder(T).rename(store.folder(other))
    assert "belongs to" in store.status(other)


def test_children_wait_for_whole_parents(store):
    child = task(Toy(11, T.job), 3)
    with pytest.raises(jobs.ReplibError, match=rf"needs {T.name}/3 .* which is missing. Run: replib run --key {T.name}"):
        jobs.execute(child, store)
    jobs.execute(T, store)
    (store.folder(T) / "arrays.npz").unlink()
    with pytest.raises(jobs.ReplibError, match="damaged"):
        jobs.execute(child, store)


def test_a_kind_without_a_function_is_refused(store):
    @dataclass(frozen=True)
    class Unknown(Job):
        kind: ClassVar[str] = "unknown"

    with pytest.raises(jobs.ReplibError, match=r"Unknown; enter one in"):
        jobs.execute(task(Unknown(), 0), store)


# ---- files -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, stop):
    path = tmp_path / "a" / "file"
    files.write_bytes(path, b"old")

    def half(f):
        f.write(b"ne")
        raise stop

    with pytest.raises(stop):
        files.write_atomically(path, half)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_a_failing_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    monkeypatch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(OSError(errno.EIO, "bad disk")))
    with pytest.raises(OSError, match="bad disk"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_object_arrays_are_refused_before_anything_is_written(tmp_path):
    for a in (np.array([{}], dtype=object), np.array([("a", None)], dtype=[("n", "U1"), ("o", object)])):
        with pytest.raises(TypeError, match=r"array 'bad' holds Python objects"):
            files.write_arrays(tmp_path / "x.npz", {"good": np.zeros(2), "bad": a})
    assert not list(tmp_path.iterdir())
    np.savez(tmp_path / "evil.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        files.read_arrays(tmp_path / "evil.npz")


def test_json_without_nan_and_tables_that_read_back_to_the_bit(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())
    rng = random.Random(0)
    rows = [{"a": rng.gauss(0, 1) * 10 ** rng.randrange(-20, 20), "b": i} for i in range(100)]
    files.write_table(tmp_path / "x.csv", rows)
    with open(tmp_path / "x.csv") as f:
        assert [float(r["a"]) for r in csv.DictReader(f)] == [r["a"] for r in rows]


# ---- a full disk -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("code", "after"), [(errno.ENOSPC, n) for n in range(1, 8)] + [(errno.EDQUOT, 3), (errno.EFBIG, 3)])
def test_a_full_disk_at_any_file_loses_nothing_done(store, monkeypatch, code, after):
    done, calls = jobs.execute(T, store), 0

    def full(fd):
        nonlocal calls
        calls += 1
        if calls >= after:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    other = task(Toy(20), 0)
    with pytest.raises(DiskFull, match=r"^The disk is full: .*Free some space.*give the same command again\.$"):
        jobs.execute(other, store)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    assert store.status(other) == "missing"
    assert store.status(T, deep=True) == "done"
    assert store.summary(T)["seal"]
    assert store.results(T) == done["results"]
    assert not list(store.root.rglob("*.tmp"))
    jobs.execute(other, store)
    assert store.status(other, deep=True) == "done"


def test_the_kernels_own_refusal_is_explained(store):
    """A limit on file size makes write() fail as a full disk does."""
    jobs.execute(T, store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DiskFull, match=r"arrays\.npz could not be written"):
            files.write_arrays(store.folder(T) / "arrays.npz", {"x": np.random.default_rng(0).random(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert store.status(T, deep=True) == "done"


# ---- environments and cost -----------------------------------------------------------------------------------------------
def test_the_commit_may_differ_where_bits_must_agree_but_nothing_else():
    env = {"python": "3", "platform": "x", "packages": {"torch": "2"}, "cpu": "c", "device": "cpu", "threads": 1, "commit": "a"}
    assert same_bits(env, env | {"commit": "b"})
    for field in set(env) - {"commit"}:
        assert not same_bits(env, env | {field: "other"})
    assert environment_id(env) != environment_id(env | {"commit": "b"})


def test_cost_goes_on_from_what_was_spent_before_a_kill():
    cost = Meter(earlier={"wall_seconds": 100.0, "cpu_seconds": 50.0, "restarts": 2}).read()
    assert 100 <= cost["wall_seconds"] < 101
    assert 50 <= cost["cpu_seconds"] < 51
    assert cost["restarts"] == 2
    assert cost["peak_memory_bytes"] > 10 * 2**20


def test_peak_memory_of_a_gpu_is_counted_from_the_start_of_the_job(monkeypatch):
    """Whatever the worker did before; and a GPU with a number is refused unless CUDA was initialised."""
    done = []
    monkeypatch.setattr(torch.cuda, "init", lambda: done.append("init"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: done.append(device))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7)
    assert Meter("cuda:1").read()["peak_device_memory_bytes"] == 7
    assert done == ["init", "cuda:1"]
    assert "peak_device_memory_bytes" not in Meter().read()


def test_a_store_of_another_folder_knows_nothing(store, tmp_path):
    jobs.execute(T, store)
    assert Store(tmp_path / "other").status(T) == "missing"
