"""What a task will cost, before it runs: published times of the same job where there are any, arithmetic otherwise."""

from __future__ import annotations

import math

from replib.attacks import PGD
from replib.methods.tickets import SNIP, GraSP, SynFlow, Ticket
from replib.models import weight_shapes
from replib.spec import Pinned, Task, choose
from replib.store.evidence import Published
from replib.training.losses import attack_of, replays
from replib.training.spec import Train

SPEED = {"cpu": 1.2e10, "cuda": 3e13}
"""Achieved operations a second: one processor core on the small nets, one data-centre GPU on ResNet-18. Estimates, never results."""


def forward_flops(run: Train | Ticket) -> float:
    """Dense forward pass of one image."""
    from replib.experiments.rows import layers
    from replib.sparsity.flops import inference_flops

    return inference_flops(layers(run))


def _steps(attack: object) -> int:
    if attack is None:
        return 0
    return getattr(attack, "steps", getattr(attack, "iterations", 1)) * getattr(attack, "restarts", 1)


PASSES = {SNIP: 3, GraSP: 9}
"""Forward passes that scoring one image is worth: a gradient; two gradients and the product of the Hessian with one."""
SORTED = 1000
"""Operations that ranking one weight is worth."""


def _scoring(job: Ticket) -> float:
    """Arithmetic of drawing a mask: scoring the weights, and ranking them once or in every iteration."""
    sizes = weight_shapes(job.net, job.data.role.classes, job.data.shape)
    ranked = SORTED * sum(map(math.prod, sizes.values()))
    forward = forward_flops(job)
    if isinstance(job.rule, SynFlow):
        return job.rule.iterations * (3 * forward + ranked)
    images = getattr(job.rule, "per_class", 0) * job.data.role.classes
    return images * PASSES.get(type(job.rule), 0) * forward + ranked


def operations(t: Task) -> float:
    """Arithmetic of a task: an upper bound where the end is not known beforehand (ticket searches, plateau schedules)."""
    job = t.job
    if isinstance(job, Train):
        role = job.data.role
        train, val = job.data.n_train or role.n_train, job.data.n_val or role.n_val
        per_epoch = replays(job.loss) * train * (3 + 2 * _steps(attack_of(job.loss))) + val * (2 + 2 * _steps(job.validate))
        return per_epoch * job.epochs * forward_flops(job)
    if isinstance(job, Ticket):
        return _scoring(job)
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
    """Seconds that `t` will take: the median of published seeds made on a like device, else its arithmetic over :data:`SPEED`.

    On a processor, seconds of one core: a busy machine does not count twice.
    """
    kind = choose("device", device.split(":")[0], SPEED)
    spent = "cpu_seconds" if kind == "cpu" else "wall_seconds"
    if published is not None:
        made = [published.summary(Task(t.name, s, t.job)) for s in published.seeds(t)]
        on = published.environments()
        times = sorted(s["cost"][spent] for s in made if (on[s["environment"]]["device"] == "cpu") == (kind == "cpu"))
        if times:
            return times[len(times) // 2]
    return max(0.05, operations(t) / SPEED[kind])


def human(seconds: float) -> str:
    """Seconds for people: '40 s', '12 min', '3.4 h', '12 days'."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{math.ceil(seconds)} s"
