"""Several processes make one result together: the same masks and, to rounding, the same weights as one process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from replib.attacks import PGD
from replib.data import Data
from replib.experiments.jobs import execute
from replib.methods import FlyingBird, Magnitude, Random, Ticket
from replib.models import Net
from replib.spec import SpecError, task
from replib.store import Store
from replib.store.world import ALONE, World
from replib.training import PGDAT, SGD, FreeAT, FromRun, Train

# One step an epoch of 31 images, which do not split evenly; attacks start at the image, for random starts are drawn anew by each process.
DATA = Data("digits", n_train=31, n_val=21, n_test=20, augment="none")
ATTACK = PGD(0.1, 2, start="zero")
PLAIN = Train(DATA, Net("cnn_small", width=4), PGDAT(ATTACK), epochs=2, batch=31, validate=ATTACK, optim=SGD(0.05))
TICKET = Ticket(DATA, PLAIN.net, 0.3, Random())
GROWN = replace(PLAIN, ticket=TICKET, method=FlyingBird(interval=1 / 4), name="grown")
NORMED = replace(PLAIN, net=Net("preact_resnet_small", width=4), name="normed")
# Two rounds of a ladder: the first mask is of the pre-trained weights, to which the second training returns.
FIRST = Ticket(DATA, PLAIN.net, 0.8, Magnitude(PLAIN))
ROUND = replace(PLAIN, init=FromRun(PLAIN), ticket=FIRST, accumulate=2, name="round")
SECOND = Ticket(DATA, PLAIN.net, 0.64, Magnitude(ROUND))
JOBS = (PLAIN, TICKET, GROWN, NORMED, FIRST, ROUND, SECOND)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[Store, str]:
    """The jobs made by two processes under torchrun, and what the two reported."""
    root = tmp_path_factory.mktemp("together")
    (root / "tasks").write_bytes(pickle.dumps([task(job, 0) for job in JOBS]))
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", here / "distributed_processes.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.run([*command, root / "tasks", root], env=environment, capture_output=True, text=True, timeout=240)
    assert made.returncode == 0, made.stderr[-3000:]
    reports = [(root / f"report-{rank}").read_text() for rank in (0, 1)]
    assert reports[0] == reports[1]
    return Store(root), reports[0]


@pytest.mark.parametrize("job", [PLAIN, GROWN], ids=["dense", "grown"])
def test_two_processes_train_what_one_trains(job, together, store):
    execute(task(TICKET, 0), store)
    execute(task(job, 0), store)
    found, expected = (s.weights(task(job, 0), "epoch_2") for s in (together[0], store))
    for name, w in expected.items():
        torch.testing.assert_close(found[name], w, rtol=1e-4, atol=1e-6)
    moved = [n for n, w in store.weights(task(job, 0), "epoch_0").items() if (w - expected[n]).abs().max() > 1e-4]
    assert len(moved) >= len(expected) - 1  # a bias may hardly move
    rows, wanted = (s.table(task(job, 0)) for s in (together[0], store))
    assert rows.round(3).equals(wanted.round(3))
    if job.ticket:
        masks, same = (s.arrays(task(job, 0)) for s in (together[0], store))
        assert all((masks[n] == a).all() for n, a in same.items())
        assert any((masks[n] != a).any() for n, a in store.arrays(task(TICKET, 0)).items())  # weights were swapped on the way


def test_two_processes_climb_the_ladder_that_one_climbs(together, store):
    """Pre-train, prune, return to the pre-trained weights, train with gradients in two parts on each process, and prune again."""
    for job in (PLAIN, FIRST, ROUND, SECOND):
        execute(task(job, 0), store)
    for ticket in (FIRST, SECOND):
        masks, same = (s.arrays(task(ticket, 0)) for s in (together[0], store))
        assert masks.keys() == same.keys()
        assert all((masks[n] == a).all() for n, a in same.items())
    found, expected = (s.weights(task(ROUND, 0), "epoch_2") for s in (together[0], store))
    for name, w in expected.items():
        torch.testing.assert_close(found[name], w, rtol=1e-4, atol=1e-6)
    first, second = (store.arrays(task(ticket, 0)) for ticket in (FIRST, SECOND))
    assert all((second[n] <= a).all() for n, a in first.items())
    assert any((second[n] < a).any() for n, a in first.items())


def test_what_several_processes_cannot_do_is_said_once_by_all(together):
    assert "batch normalisation on processors" in together[1]
    assert together[1].count("Run it without torchrun.") == 1
    assert together[0].status(task(NORMED, 0)) == "missing"


def test_parts_cover_a_batch_without_overlap():
    for n, size in ((31, 2), (7, 3), (8, 8), (256, 6)):
        parts = [list(range(n))[World(rank, size).part(n)] for rank in range(size)]
        assert [i for part in parts for i in part] == list(range(n))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert ALONE.part(5) == slice(0, 5)
    assert ALONE.purpose("attack/3") == "attack/3"
    assert World(1, 2).purpose("attack/3") != World(0, 2).purpose("attack/3")


def test_gradients_of_parts_add_up_to_those_of_the_batch(store):
    split = replace(PLAIN, accumulate=3)
    execute(task(PLAIN, 0), store)
    execute(task(split, 0), store)
    whole, parts = (store.weights(task(job, 0), "epoch_2") for job in (PLAIN, split))
    for name, w in whole.items():
        torch.testing.assert_close(parts[name], w, rtol=1e-4, atol=1e-6)
    assert json.dumps(store.results(task(split, 0))["steps"]) == "2"


def test_what_parts_cannot_do_is_refused():
    with pytest.raises(SpecError, match=r"Train\.accumulate cannot be combined with FreeAT"):
        replace(PLAIN, loss=FreeAT(0.1), accumulate=2)
    with pytest.raises(SpecError, match=r"Train\.accumulate = 32"):
        replace(PLAIN, accumulate=32)
