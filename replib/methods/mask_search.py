"""Searching a mask at initialization by training a masked student beside its dense teacher (D, Algorithm 1), one loop for all goals."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.augment import to_float
from replib.data.load import Split, load
from replib.methods.tickets import kept_share, sparsity_words
from replib.models import Net
from replib.models.build import prunable
from replib.models.tangent import Entries, tangent_kernel
from replib.sparsity.masks import Masks, buffers_like, counts, density, global_top, layerwise_top, pack, relative_hamming
from replib.sparsity.quotas import quotas
from replib.spec import Job, Pinned, Spec, SpecError, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.loop import Diverged, make_optimizer
from replib.training.networks import fresh, placed, ticket_masks
from replib.training.spec import Adam, Fresh, Train
from replib.training.state import Masked, generator


@dataclass
class Search:
    """A search between two steps. ``teacher`` is the dense network at θ0, which nothing changes; ``model`` computes with mask times the
    hidden dense weights of ``student``. ``memory`` is the goal's own."""

    job: MaskSearch
    seed: int
    split: Split
    teacher: nn.Module
    student: nn.Module
    masks: Masks
    model: Masked
    optimizer: torch.optim.Optimizer
    steps: int  # in all
    density: float
    quota: Mapping[str, int] | None  # weights that each layer keeps; None where all are ranked together
    step: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The prunable parameters of the student, unmasked."""
        return prunable(self.student)

    def effective(self) -> dict[str, Tensor]:
        """All parameters that the student computes with; gradients reach the hidden weights through them."""
        return {n: p * self.masks[n] if n in self.masks else p for n, p in self.student.named_parameters()}

    def largest(self, *, active_first: bool = False) -> Masks:
        """The masks of the largest weights at the job's density, unmasked weights included: layer by layer, or over all. With
        `active_first` a pruned weight is taken only where the active ones do not suffice."""
        magnitudes = {n: w.detach().abs() for n, w in self.weights.items()}
        if active_first:
            beyond = max(m.max() for m in magnitudes.values())
            magnitudes = {n: m + (1 + beyond) * self.masks[n] for n, m in magnitudes.items()}
        return global_top(magnitudes, self.density) if self.quota is None else layerwise_top(magnitudes, self.quota)

    def random(self, purpose: str) -> torch.Generator:
        """The generator of one purpose of this search."""
        return generator(self.seed, f"search/{purpose}")


@dataclass(frozen=True)
class Goal(Spec, ABC):
    """What a search does at a step and when it changes its mask: a frozen dataclass of choices with four methods. Adam takes the steps."""

    straight_through: ClassVar[bool] = False  # whether pruned weights get the gradient of the effective weight
    attack: ClassVar[PGD | None] = None  # of the images that distances are measured on
    entries: ClassVar[Entries] = "all"  # of the kernel, in distances
    interval: ClassVar[int | None] = None  # steps between new masks, where there is one

    @property
    def title(self) -> str:
        """What the method is called."""
        return type(self).__name__

    def begin(self, s: Search) -> Masks:
        """The first mask."""
        return s.largest()

    @abstractmethod
    def minimise(self, s: Search, index: Tensor) -> float:
        """Leave in ``.grad`` of the student's parameters what a step on the training images `index` descends, and return the loss."""

    def revise(self, s: Search) -> Masks | None:
        """After each step: the next mask, or None to keep the one there is."""
        return None

    def finish(self, s: Search) -> Masks:
        """The mask that the search returns, exactly at the job's density."""
        return s.masks


@dataclass(frozen=True)
class MaskSearch(Job):
    """A mask at `density` found by `goal` in `epochs` passes over the training images, from the initial weights of the seed. A run as
    `density` stands for the density that it ended with.

    It is a ticket: give it as `ticket` of a run, or of :class:`~replib.methods.tickets.Shuffled`. A run starts from θ0 by default, as D's
    do; ``FromRun(search)`` starts it from the weights that the search ended with, as neural tangent transfer does.

    Every `every` steps, and before the first and after the last, a row of metrics.csv says how far the student is from the teacher on the
    first `held_out` validation images, in the terms of D's equation 13 (γ apart): ``target_distance`` is |Δf|² / N and
    ``kernel_distance`` |ΔΘ|² / N², which are K and K² times their means, of a diagonal K / N times its mean. ``train_sa`` and ``test_sa``
    are accuracies of the masked student on the first `images` of each, ``churn`` is the share of mask entries that changed since the row
    before. Images of a batch that is not full are left out. `block` images a side are in one block of the kernel.

    Departs: D does not say how many of the largest weights each layer keeps (`across`): one density in every layer, as in the code of the
    method that it extends. "network" ranks all weights together, "run" leaves each layer as many as the run that is given as `density`.
    Departs: inputs are pixels in [0, 1], without augmentation; the method that D extends standardises them, but attacks need the box.
    """

    kind: ClassVar[str] = "mask_search"

    data: Data
    net: Net
    density: float | Train | Pinned
    goal: Goal
    epochs: int = 20
    batch: int = 64
    lr: float = 5e-4
    init: Fresh = field(default_factory=Fresh)
    across: Literal["layer", "network", "run"] = "layer"
    every: int = 100
    held_out: int = 64
    images: int = 500
    block: int = 64

    def check(self) -> None:
        if isinstance(self.density, int | float):
            within("MaskSearch.density", self.density, 0, 1, low_open=True)
        within("MaskSearch.lr", self.lr, 0, low_open=True)
        for name in ("epochs", "batch", "every", "held_out", "images", "block"):
            within(f"MaskSearch.{name}", getattr(self, name), 1)
        if self.across == "run" and isinstance(self.density, int | float):
            raise SpecError(
                f"MaskSearch.across = 'run' takes layers from a run, and density = {self.density:g} is none; give the run as density."
            )
        steps, refresh = self.epochs * self.steps_an_epoch(), self.goal.interval
        if refresh is not None and steps <= 2 * refresh:
            raise SpecError(
                f"A mask search of {steps} steps never renews its mask when it may after every {refresh} but the last: it would return the "
                f"mask that it began with. Give {type(self.goal).__name__}.refresh below {max(steps / 2, 1):g}, or more epochs."
            )

    def steps_an_epoch(self) -> int:
        """Full batches of the training images; one smaller batch where there are fewer images."""
        return max(1, self.data.images("train") // self.batch)

    def label(self) -> str:
        return f"{self.goal.title} mask search at {sparsity_words(self.density)}"


def squared_kernel_difference(
    s: Search, x: Tensor, xt: Tensor, xs: Tensor, *, entries: Entries = "all", masked: bool = True, backward: bool = False
) -> float:
    """|Θ(X, X̃_0) - Θˢ(X, X̃ˢ)|² over the kept entries, summed block by block; `backward` adds each block's gradient to ``.grad``.

    Rows are the clean images `x`; columns are the teacher's adversarial images `xt` and the student's `xs`. `masked` is whether the
    student's kernel leaves out the gradients of pruned weights.
    """
    total, block = 0.0, s.job.block
    columns = list(zip(xt.split(block), xs.split(block), strict=True))
    for i, rows in enumerate(x.split(block)):
        for xt_part, xs_part in columns[i : i + 1] if entries == "diagonal" else columns:
            with torch.no_grad():
                wanted = tangent_kernel(s.teacher, rows, xt_part, entries=entries)
            with torch.set_grad_enabled(backward):
                masks = s.masks if masked else None
                found = tangent_kernel(s.student, rows, xs_part, parameters=s.effective(), masks=masks, entries=entries)
                part = (found - wanted).square().sum()
            if backward:
                part.backward()
            total += part.item()
    return total


def distances(s: Search) -> dict[str, float]:
    """Kernel and target distance on held-out images, with attacks drawn anew from one fixed stream (D, equation 13 without γ)."""
    val, goal = s.split.val, s.job.goal
    x, y = to_float(val.x[: s.job.held_out]), val.y[: s.job.held_out]
    s.student.eval()
    xt, xs = (attacked(net, x, y, goal.attack, s.random("held out")) for net in (s.teacher, s.model))
    with torch.no_grad():
        target = (s.teacher(xt) - s.model(xs)).square().sum().item() / len(x)
    kernel = squared_kernel_difference(s, x, xt, xs, entries=goal.entries) / len(x) ** 2
    return {"kernel_distance": kernel, "target_distance": target}


def attacked(net: nn.Module, x: Tensor, y: Tensor, attack: PGD | None, rng: torch.Generator) -> Tensor:
    """Adversarial images, or `x` itself where there is no attack."""
    return x if attack is None else perturb(net, x, y, attack, rng)


def run_mask_search(job: MaskSearch, context: Context) -> Output:
    """Search, and hand over the mask, the student's weights under it ("final"), and the log.

    ``results`` hold what a ticket's do, and of every logged number its first and last value.
    """
    s = _begin(job, context)
    rows, before = [_row(s, s.masks, float("nan"))], _copy(s.masks)
    n, loss = len(s.split.train), float("nan")
    for epoch in range(job.epochs):
        order = torch.randperm(n, generator=s.random(f"batches/{epoch}")).to(context.device)
        for index in order.split(job.batch)[: s.steps // job.epochs]:
            loss = _step(s, index)
            if s.step % job.every == 0 and s.step < s.steps:
                rows.append(_row(s, before, loss))
                before = _copy(s.masks)
        context.progress(epoch + 1, job.epochs)
    _replace(s, job.goal.finish(s))
    rows.append(_row(s, before, loss))
    return _output(s, rows)


def _begin(job: MaskSearch, context: Context) -> Search:
    split, seed = load(job.data, context.data_root, context.device), context.task.seed
    student = placed(fresh(job, split, seed, job.init), context.device)
    teacher = copy.deepcopy(student).eval().requires_grad_(False)
    masks: Masks = {}
    model, optimizer = Masked(student, masks, job.goal.straight_through), make_optimizer(Adam(job.lr), student)
    share, steps = kept_share(job, context), job.epochs * job.steps_an_epoch()
    s = Search(job, seed, split, teacher, student, masks, model, optimizer, steps, share, _quota(job, context, student, share))
    masks.update(job.goal.begin(s))
    return s


def _quota(job: MaskSearch, context: Context, net: nn.Module, share: float) -> dict[str, int] | None:
    if job.across == "run":
        return counts(ticket_masks(context.store, context.parent(job.density), net))
    return None if job.across == "network" else quotas("uniform", {n: tuple(w.shape) for n, w in prunable(net).items()}, share)


def _step(s: Search, index: Tensor) -> float:
    s.optimizer.zero_grad(set_to_none=True)
    loss = s.job.goal.minimise(s, index)
    if not math.isfinite(loss):
        raise Diverged(f"The loss of the mask search became {loss} at step {s.step + 1}; give it a smaller learning rate or kernel weight.")
    s.optimizer.step()
    s.step += 1
    revised = s.job.goal.revise(s)
    if revised is not None:
        _replace(s, revised)
    return loss


def _replace(s: Search, masks: Masks) -> None:
    for name, mask in masks.items():
        s.masks[name].copy_(mask)


def _copy(masks: Masks) -> Masks:
    return {n: m.clone() for n, m in masks.items()}


def forget(s: Search) -> None:
    """Zero what the optimizer remembers of pruned weights, so that stale moments do not move them."""
    for name, w in s.weights.items():
        for remembered in buffers_like(w, s.optimizer):
            remembered.mul_(s.masks[name])


def _row(s: Search, before: Masks, loss: float) -> dict[str, Any]:
    """One line of the log; the loss is that of the last step."""
    row: dict[str, Any] = {"step": s.step, "epoch": s.step / s.job.steps_an_epoch()}
    row |= distances(s)
    for name, part in (("train_sa", s.split.train), ("test_sa", s.split.test)):
        row[name] = evaluate(s.model, part.x[: s.job.images], part.y[: s.job.images], device=part.x.device).accuracy
    row |= {"churn": relative_hamming(s.masks, before), "density": density(s.masks)}
    return row | {"loss": loss if s.step else None}


def _output(s: Search, rows: list[dict[str, Any]]) -> Output:
    kept, end = counts(s.masks), s.job.epochs
    weights = {k: v.detach() * s.masks[k] if k in s.masks else v.detach() for k, v in s.student.state_dict().items()}
    watched = ("kernel_distance", "target_distance", "train_sa", "test_sa")
    return Output(
        results={
            "density": density(s.masks),
            "kept": kept,
            "sizes": {n: m.numel() for n, m in s.masks.items()},
            "emptied_layers": [n for n, k in kept.items() if k == 0],
            "classes": s.split.classes,
            "steps": s.step,
            "checkpoints": {"final": {"epoch": end, "value": 0.0}},
            "first": {n: rows[0][n] for n in watched},
            "last": {n: rows[-1][n] for n in watched},
        },
        metrics=rows,
        arrays={f"mask/{n}": v for n, v in pack(s.masks).items()},
        weights={f"epoch_{end}": weights},
    )
