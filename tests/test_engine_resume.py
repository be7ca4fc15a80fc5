"""Killed at any moment and started again, a run ends with the same bits as one that was never killed."""

from __future__ import annotations

import random
import signal

import pytest
import torch
from engine_processes import (
    EPOCHS,
    FORK,
    JOBS,
    digests,
    ended,
    killed_often,
    prepared,
    reference,
    run_counted,
    run_counting_epochs,
    run_dying_in_write,
    started,
)  # fmt: skip

from replib.experiments.jobs import execute
from replib.store import Store


def both(name, tmp_path, kills, seed=0):
    """(digests of a run killed `kills` times, of one never killed, how many kills struck, restarts counted)."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    t = prepared(name, straight)
    prepared(name, broken)
    calls = reference(t, straight)
    struck = killed_often(t, broken, kills, calls, random.Random(f"{name}/{seed}"))
    return digests(t, broken), digests(t, straight), struck, Store(broken).summary(t)["cost"]["restarts"]


FEW = ("dense", "Flying Bird+", "search", "plateau", "averaged")


@pytest.mark.parametrize("name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in JOBS])
def test_three_kills_at_random_moments_change_no_bit(name, tmp_path):
    broken, straight, struck, restarts = both(name, tmp_path, 3)
    assert broken == straight
    assert struck >= 2
    assert restarts >= 1  # it did go on from a saved state
    assert {"metrics.csv", "spec.json"} < set(straight)
    assert any(n.endswith(".safetensors") for n in straight)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_thirty_kills_change_no_bit(name, tmp_path):
    broken, straight, struck, restarts = both(name, tmp_path, 30, seed=1)
    assert broken == straight
    assert struck >= 3
    assert restarts >= 2


def test_methods_did_what_resuming_must_preserve(tmp_path):
    """The runs above would prove nothing if their methods were idle."""
    root = tmp_path / "s"
    results = {}
    for name in ("Flying Bird+", "search", "plateau", "averaged"):
        t = prepared(name, root)
        execute(t, Store(root))
        results[name] = (Store(root).results(t), Store(root).table(t), Store(root).table(t, "events"), Store(root).summary(t)["files"])
    bird, _, events, _ = results["Flying Bird+"]
    assert bird["method"]["updates"] == len(events) == 2 * EPOCHS
    assert events.prune_boost.any() or events.growth_boost.any()
    assert 0.3 < bird["method"]["explored"] < 1
    assert len(Store(root).arrays(prepared("Flying Bird+", root))["retained/masks@0.2"]) == EPOCHS
    assert set(results["search"][0]["method"]["trigger"].values()) == {0}
    assert results["search"][1]["mask_distance@0.2"].notna().sum() == EPOCHS - 1
    assert results["plateau"][1].lr.nunique() > 1
    assert {"average_final.safetensors", "average_best_ra.safetensors"} <= set(results["averaged"][3])


@pytest.mark.parametrize(
    ("name", "nth", "share"), [("state.pt", 2, 0.5), ("state.pt", 1, 0.99), ("metrics.csv", 1, 0.5), ("summary.json", 1, 0.9)]
)
def test_a_kill_while_a_file_is_written_changes_no_bit(name, nth, share, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    t = prepared("Flying Bird+", straight)
    prepared("Flying Bird+", broken)
    reference(t, straight)
    assert ended(started(run_dying_in_write, t, broken, name, nth, share)) == -signal.SIGKILL
    folder = Store(broken).folder(t)
    assert list(folder.glob(f".{name}.*.tmp"))  # half a file, but not in its place
    assert Store(broken).status(t) == "missing"
    assert (folder / "state.pt").exists() == ((name, nth) != ("state.pt", 1))
    assert ended(started(run_counted, t, broken, None)) == 0
    assert digests(t, broken) == digests(t, straight)
    assert not list(folder.glob(".*.tmp"))
    assert not (folder / "state.pt").exists()


def test_two_processes_asked_for_one_job_do_it_once(tmp_path):
    root = tmp_path / "s"
    root.mkdir()
    t = prepared("dense", root)
    gate = FORK.Barrier(2)
    both = [started(run_counting_epochs, t, root, tmp_path / f"log{i}", gate) for i in range(2)]
    assert [ended(p) for p in both] == [0, 0]
    assert sorted(int((tmp_path / f"log{i}").read_text()) for i in range(2)) == [0, EPOCHS]


def test_a_damaged_state_is_named_and_the_run_starts_over(tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    t = prepared("dense", straight)
    reference(t, straight)
    assert ended(started(run_dying_in_write, t, broken, "metrics.csv", 1, 0.5)) == -signal.SIGKILL
    saved = Store(broken).folder(t) / "state.pt"
    for damage in (saved.read_bytes()[:-1000], b"", flipped(saved.read_bytes())):
        saved.write_bytes(damage)
        with pytest.warns(UserWarning, match=r"state\.pt is damaged: .* starts over"):
            execute(t, Store(broken))
        assert digests(t, broken) == digests(t, straight)
        Store(broken).discard(t)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 64]) + data[middle + 1 :]


def test_a_state_saved_before_masks_were_wanted_is_not_passed_off_as_complete(tmp_path):
    from dataclasses import replace

    from replib.spec import task

    t = prepared("dense", tmp_path)
    assert ended(started(run_dying_in_write, t, tmp_path, "metrics.csv", 1, 0.5)) == -signal.SIGKILL
    more = task(replace(t.job, retain=("masks@0.2",)), 0)
    assert more == t  # retention is no part of the key
    with pytest.warns(UserWarning, match="starts over"):
        execute(more, Store(tmp_path))
    assert len(Store(tmp_path).arrays(t)["retained/masks@0.2"]) == EPOCHS


def test_a_run_whose_written_weights_are_gone_starts_over(tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    t = prepared("plateau", straight)
    prepared("plateau", broken)
    reference(t, straight)
    assert ended(started(run_dying_in_write, t, broken, "metrics.csv", 1, 0.5)) == -signal.SIGKILL
    (Store(broken).folder(t) / "epoch_1.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"epoch_1\.safetensors is gone or damaged; .* starts over"):
        execute(t, Store(broken))
    assert digests(t, broken) == digests(t, straight)


def test_weights_of_a_resumed_run_are_those_of_the_straight_one(tmp_path):
    """Not only checksums: the tensors themselves, and the sparsity pattern that the run must have."""
    t = prepared("averaged", tmp_path)
    execute(t, Store(tmp_path))
    final = Store(tmp_path).weights(t, f"epoch_{EPOCHS}")
    average = Store(tmp_path).weights(t, "average_final")
    for name, w in final.items():
        if w.ndim in (2, 4):
            assert torch.equal(average[name] != 0, average[name] * (w != 0) != 0)  # support of the average inside the mask
    assert not all(torch.equal(final[n], average[n]) for n in final)
