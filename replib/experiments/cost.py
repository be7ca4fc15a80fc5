"""What a task will cost, before it runs: published times of the same job where there are any, arithmetic otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable

from replib.analysis.evaluation import Evaluate
from replib.attacks import AutoAttack
from replib.attacks.evaluate import BATCH
from replib.methods import AWT, MaskSearch
from replib.methods.tickets import SNIP, GraSP, SynFlow, Ticket
from replib.models import weight_shapes
from replib.spec import Task, choose, unpinned
from replib.store.evidence import Published
from replib.training.losses import attack_of, replays
from replib.training.spec import Distill, Train

SPEED = {"cpu": 2e10, "cuda": 3e13}
"""Achieved operations a second: one processor core on the small nets, one :data:`GPU` on ResNet-18. Estimates, never results.

Nine of ten published trainings did 1.6 to 5.3e10 on a core with AVX-512, half of them 2.2e10 or less; AVX2 does about 0.4 of that."""
LAUNCHED = 4e-5
"""Seconds that a GPU takes for a layer of one pass, however small: four kernels of 10 µs each. Small networks are bound by this."""
GPU = "NVIDIA A100"
"""The GPU that estimates are for. It can do ten times as many; adversarial training of a ResNet-18 in mixed precision reaches a part."""


def forward_flops(run: Train | Ticket | MaskSearch) -> float:
    """Dense forward pass of one image."""
    from replib.experiments.rows import layers
    from replib.sparsity.flops import inference_flops

    return inference_flops(layers(run))


MEMBERS = {"apgd-ce": 200, "apgd-dlr": 200, "apgd-t": 1800, "fab": 300, "fab-t": 2700, "square": 5000}
"""Forward passes of one image that a member of AutoAttack takes at most, at the strength it has in the standard version."""
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")


def attack_passes(attack: object) -> int:
    """Forward passes of one image that crafting it is worth: two a step, since a step needs the gradient by the input alone."""
    if attack is None:
        return 0
    if isinstance(attack, AutoAttack):
        return sum(MEMBERS[m] for m in attack.members or STANDARD)
    steps = getattr(attack, "iterations", getattr(attack, "steps", 1))
    return 2 * steps * getattr(attack, "restarts", 1) * getattr(attack, "search_steps", 1)


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


def _searching(job: MaskSearch) -> float:
    """Arithmetic of a mask search: of both networks the attack and the gradients of every output, and the products of these by pairs of
    images, which are computed once for the teacher and, with the backward pass, three times for the student."""
    goal, classes, images = job.goal, job.data.role.classes, job.epochs * job.steps_an_epoch() * job.batch
    if not isinstance(goal, AWT):
        return 3 * images * forward_flops(job)
    shapes = weight_shapes(job.net, classes, job.data.shape).values()
    a_pair = 2 * sum(math.prod(s) + classes**2 * (s[0] if len(s) == 2 else math.prod(s)) for s in shapes)
    partners = 1 / classes if goal.entries == "diagonal" else job.batch / 4 if goal.kernel == "halves" else job.batch
    return images * (4 * partners * a_pair + (6 + 2 * attack_passes(goal.attack) + 8 * classes) * forward_flops(job))


def operations(t: Task) -> float:
    """Arithmetic of a task: an upper bound where the end is not known beforehand (ticket searches, plateau schedules)."""
    job = t.job
    if isinstance(job, Train):
        return _training(job, lambda n, batch: n) * forward_flops(job)
    if isinstance(job, Ticket):
        return _scoring(job)
    if isinstance(job, MaskSearch):
        return _searching(job)
    if isinstance(job, Evaluate):
        run = unpinned(job.run)
        other = run if job.surrogate is None else unpinned(job.surrogate)
        crafter, shown = (run, other) if job.crafted_here else (other, run)
        return _shown(job, lambda n, batch: n) * (attack_passes(job.attack) * forward_flops(crafter) + forward_flops(shown))
    return job.passes() * forward_flops(unpinned(job.run)) if hasattr(job, "passes") else 1e9


def layers_in_turn(t: Task) -> float:
    """Layers that a task computes one after another, whatever the batch: a batch waits for the one before, a step of an attack too. 0 for
    tickets, whose scores are a few passes."""
    job, most = t.job, BATCH["cuda"]
    if isinstance(job, Train):
        return _training(job, lambda n, batch: math.ceil(n / batch)) * _layers(job)
    if isinstance(job, MaskSearch):
        return job.epochs * job.steps_an_epoch() * _passes_a_step(job) * _layers(job)
    if isinstance(job, Evaluate):
        return _shown(job, lambda n, batch: math.ceil(n / batch)) * (attack_passes(job.attack) + 1) * _layers(unpinned(job.run))
    return job.passes() / most * _layers(unpinned(job.run)) if hasattr(job, "passes") else 0.0


def _passes_a_step(job: MaskSearch) -> int:
    """Of a search, one after another: an update, and of the tangent kernel the attacks, targets and blocks."""
    goal = job.goal
    if not isinstance(goal, AWT):
        return 3
    blocks = math.ceil(job.batch / (1 + (goal.kernel == "halves")) / job.block)
    return 6 + 2 * attack_passes(goal.attack) + 12 * (blocks if goal.entries == "diagonal" else blocks**2)


def _layers(run: Train | MaskSearch) -> int:
    return len(weight_shapes(run.net, run.data.role.classes, run.data.shape))


Count = Callable[[int, int], float]
"""Of a number of images and a batch: the images, or the batches."""


def _training(job: Train, count: Count) -> float:
    """Forward passes that a training is worth, of images or of batches."""
    train, val = count(job.data.images("train"), job.batch), count(job.data.images("val"), BATCH["cuda"])
    taught = 2 * isinstance(job.loss, Distill)  # both teachers look at every image
    per_epoch = replays(job.loss) * train * (3 + taught + attack_passes(attack_of(job.loss))) + val * (2 + attack_passes(job.validate))
    return per_epoch * job.epochs


def _shown(job: Evaluate, count: Count) -> float:
    """Images that an evaluation shows, or batches of them."""
    of = unpinned(job.run).data.images
    return sum(count(min(of(place.partition("/")[2]), job.images or 10**9), BATCH["cuda"]) for place in job.places)


def estimate(t: Task, published: Published | None = None, device: str = "cpu") -> float:
    """Seconds that `t` will take: the median of published seeds made on a like device, else its arithmetic over :data:`SPEED`, on a GPU
    never less than its layers in turn take.

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
    return max(0.05, operations(t) / SPEED[kind], LAUNCHED * layers_in_turn(t) if kind == "cuda" else 0.0)


def human(seconds: float) -> str:
    """Seconds for people: '40 s', '12 min', '3.4 h', '12 days'."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{math.ceil(seconds)} s"
