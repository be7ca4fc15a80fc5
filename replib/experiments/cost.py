"""What a task will cost, before it runs: published times of the same job where there are any, arithmetic otherwise."""

from __future__ import annotations

import math

from replib.attacks import PGD
from replib.methods.tickets import SynFlow, Ticket
from replib.spec import Pinned, Task
from replib.store.evidence import Published
from replib.training.losses import attack_of
from replib.training.spec import Train

SPEED = {"cpu": 1.2e10, "cuda": 3e13}
"""Achieved operations a second: one processor core on the small nets, one data-centre GPU on ResNet-18. Estimates, never results."""


def forward_flops(run: Train) -> float:
    """Dense forward pass of one image."""
    from replib.experiments.rows import _sizes
    from replib.sparsity.flops import inference_flops

    return inference_flops(_sizes(run))


def _steps(attack: object) -> int:
    if attack is None:
        return 0
    return getattr(attack, "steps", getattr(attack, "iterations", 1)) * getattr(attack, "restarts", 1)


def operations(t: Task) -> float:
    """Arithmetic of a task: an upper bound where the end is not known beforehand (ticket searches, plateau schedules)."""
    job = t.job
    if isinstance(job, Train):
        role = job.data.role
        train, val = job.data.n_train or role.n_train, job.data.n_val or role.n_val
        per_epoch = train * (3 + 2 * _steps(attack_of(job.loss))) + val * (2 + 2 * _steps(job.validate))
        return per_epoch * job.epochs * forward_flops(job)
    if isinstance(job, Ticket):
        return 3e9 if isinstance(job.rule, SynFlow) else 3e8
    run = getattr(job, "run", None)
    run = run.job if isinstance(run, Pinned) else run
    if run is None:
        return 1e9
    if hasattr(job, "passes"):
        return job.passes() * forward_flops(run)
    sizes = {"train": run.data.n_train or run.data.role.n_train, "val": run.data.n_val or run.data.role.n_val}
    sizes["test"] = run.data.n_test or run.data.role.n_test
    images = sum(sizes[place.partition("/")[2]] for place in getattr(job, "places", ("best_ra/test",)))
    return images * (1 + 2 * _steps(getattr(job, "attack", PGD(eps=0.0)))) * forward_flops(run)


def estimate(t: Task, published: Published | None = None, device: str = "cpu") -> float:
    """Seconds that `t` will take: the median of published seeds made on a like device, else its arithmetic over :data:`SPEED`."""
    if published is not None:
        made_on = {id: "cpu" if e["device"] == "cpu" else "cuda" for id, e in published.environments().items()}
        summaries = [published.summary(Task(t.name, s, t.job)) for s in published.seeds(t)]
        times = sorted(s["cost"]["wall_seconds"] for s in summaries if made_on.get(s["environment"]) == device.split(":")[0])
        if times:
            return times[len(times) // 2]
    return max(0.05, operations(t) / SPEED[device.split(":")[0]])


def human(seconds: float) -> str:
    """Seconds for people: '40 s', '12 min', '3.4 h', '12 days'."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{math.ceil(seconds)} s"
