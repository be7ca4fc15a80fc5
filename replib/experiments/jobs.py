"""Running one task: lock, parents' results, the job's function, and the summary that makes it done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from replib.analysis.attention import Attention, run_attention
from replib.analysis.bounds import NormBound, run_norm_bound
from replib.analysis.curvature import Curvature, run_curvature
from replib.analysis.distortion import Distortion, run_distortion
from replib.analysis.dynamics import Dynamics, run_dynamics
from replib.analysis.evaluation import Evaluate, run_evaluate
from replib.analysis.grafting import Grafting, run_grafting
from replib.analysis.kernels import Kernels, run_kernels
from replib.analysis.landscape import Flatness, Landscape, run_flatness, run_landscape
from replib.analysis.similarity import Similarity, run_similarity
from replib.analysis.toy import Toy, run_toy
from replib.analysis.trajectory import Trajectory, run_trajectory
from replib.analysis.weights import Weights, run_weights
from replib.methods.mask_search import MaskSearch, run_mask_search
from replib.methods.tickets import Ticket, run_ticket
from replib.spec import Job, ReplibError, Task, parents
from replib.store import Store
from replib.store.context import Context, silent
from replib.store.environment import Meter, environment, same_bits
from replib.store.files import table_bytes
from replib.store.folder import Output
from replib.store.world import ALONE, World
from replib.training.loop import Diverged
from replib.training.networks import OneProcessOnly, run_train
from replib.training.spec import Train

RUN: dict[type[Job], Callable[[Any, Context], Output]] = {
    Train: run_train,
    Ticket: run_ticket,
    MaskSearch: run_mask_search,
    Evaluate: run_evaluate,
    Distortion: run_distortion,
    Landscape: run_landscape,
    Flatness: run_flatness,
    Curvature: run_curvature,
    Similarity: run_similarity,
    Kernels: run_kernels,
    Attention: run_attention,
    Trajectory: run_trajectory,
    Weights: run_weights,
    NormBound: run_norm_bound,
    Grafting: run_grafting,
    Toy: run_toy,
    Dynamics: run_dynamics,
}
"""What runs each kind of job. A new kind is a spec and a function, entered here."""


class Irreproducible(ReplibError):
    """A run made again did not come out the same."""


def lacks(store: Store, task: Task) -> list[str]:
    """What a done training run was asked to retain and did not."""
    wanted = getattr(task.job, "retain", ())
    if not wanted:
        return []
    kept = store.results(task).get("retained", [])
    return [w for w in wanted if w not in kept]


def execute(
    task: Task,
    store: Store,
    *,
    device: str = "cpu",
    data_root: Path | None = None,
    progress: Callable[[int, int], None] = silent,
    world: World = ALONE,
) -> dict[str, Any]:
    """Make sure that `task` is done and return its summary. Its parents must be done.

    A done task is only read. A damaged one is made again. One that lacks what an exhibit now asks it to retain is run again, and its
    metrics must come out bit for bit the same on the same machine. A second process asked for the same task waits for the first.

    In a `world` of several processes all must call this. The leading one does what is said above; the others only help to train.
    """
    if type(task.job) not in RUN:
        raise ReplibError(f"There is no function that runs a {type(task.job).__name__}; enter one in replib.experiments.jobs.RUN.")
    context = Context(store, task, device, data_root, progress, world)
    if device == "cpu":
        torch.set_num_threads(1)  # one thread whatever -j is: the number of threads changes the order of sums, hence bits
    if not world.leads:
        return _follow(context)
    try:
        summary = _make(context)
    except Exception as e:
        world.told(str(e) or type(e).__name__)
        raise
    world.told("")
    return summary


_JOIN = "join"
SHARED = (Diverged, OneProcessOnly)
"""Failures that all processes meet in the same place."""


def _follow(context: Context) -> dict[str, Any]:
    """What the other processes do while the leading one makes a task: train when it trains, and learn how it ended."""
    if (said := context.world.told(None)) == _JOIN:
        with contextlib.suppress(*SHARED):  # the leading process says so
            _joint(context)
        said = context.world.told(None)
    if said:
        raise ReplibError(said)
    return context.store.summary(context.task)


def _joint(context: Context) -> Output:
    """Run the job's function. Of several processes that train together, one that fails alone would leave the others waiting: all end."""
    try:
        return RUN[type(context.task.job)](context.task.job, context)
    except Exception as e:
        if context.world.size == 1 or isinstance(e, SHARED) or not isinstance(context.task.job, Train):
            raise
        traceback.print_exc()
        raise SystemExit(f"Process {context.world.rank} of {context.world.size} failed, so that all have to end: {e}") from e


def _make(context: Context) -> dict[str, Any]:
    task, store, device = context.task, context.store, context.device
    with store.lock(task):
        status = store.status(task, deep=True)
        before, before_environment = None, {}
        if status == "done":
            if not lacks(store, task):
                return store.summary(task)
            before = store.summary(task)
            before_environment = json.loads(store.path(task, "environment.json").read_text())
        else:
            store.discard(task)
        for parent in parents(task.job, task.seed):
            if (state := store.status(parent)) != "done":
                raise ReplibError(f"{task} needs {parent}, which is {state}. Run: replib run --key {parent.name} --seeds {parent.seed}")
        meter = Meter(device)
        if isinstance(task.job, Train):
            context.world.told(_JOIN)
        out = _joint(context)
        meter.earlier = dict(out.spent)
        here = environment(device)
        comparable = before and same_bits(before_environment, here) and "metrics.csv" in before["files"]
        if comparable and hashlib.sha256(table_bytes(out.metrics)).hexdigest() != before["files"]["metrics.csv"][1]:
            raise Irreproducible(
                f"{task} was run again to keep more of it and came out differently on the same machine, so the first result stays. "
                f"That is a defect: please report it with the folder {store.folder(task)}."
            )
        return store.finish(task, out, environment=here, cost=meter.read())
