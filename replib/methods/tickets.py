"""Tickets: masks as jobs. One spec for every way of choosing which weights exist before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from replib.attacks import PGD
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.augment import to_float
from replib.data.load import Split, load
from replib.models import Net
from replib.models.build import prunable
from replib.spec import Job, Pinned, Spec, SpecError, within
from replib.sparsity import scores as score
from replib.sparsity.masks import Masks, counts, global_random, global_top, pack, random_masks, shuffle_global, shuffle_layerwise, unpack
from replib.sparsity.quotas import quotas
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import fresh, ticket_masks, trained
from replib.training.spec import CrossEntropy, Train
from replib.training.state import generator


@dataclass(frozen=True)
class Rule(Spec):
    """How a mask is chosen."""


@dataclass(frozen=True)
class Random(Rule):
    """A uniformly random subset of all prunable weights, exactly round(D N) of them (A: Random Pruning)."""


@dataclass(frozen=True)
class Quota(Rule):
    """Random positions with exact layer-wise counts of a quota rule; "igq" is Flying Bird's initialization.

    Departs: the released code of A draws Bernoulli masks for every rule but IGQ, which have the density only on average.
    """

    quota: Literal["uniform", "er", "erk", "igq"] = "igq"


@dataclass(frozen=True)
class SNIP(Rule):
    """|w dL/dw| at initialization on `per_class` training images of each class (Lee et al., ICLR 2019).

    `attack` scores on adversarial images; A does not say, its tables are compatible with clean ones.
    """

    per_class: int = 10
    attack: PGD | None = None

    def check(self) -> None:
        within("SNIP.per_class", self.per_class, 1)


@dataclass(frozen=True)
class GraSP(Rule):
    """-w (H g), largest removed, logits divided by `temperature` (Wang et al., ICLR 2020)."""

    per_class: int = 10
    temperature: float = 200.0
    attack: PGD | None = None

    def check(self) -> None:
        within("GraSP.per_class", self.per_class, 1)
        within("GraSP.temperature", self.temperature, 0, low_open=True)


@dataclass(frozen=True)
class SynFlow(Rule):
    """Iterative synaptic flow without data (Tanaka et al., NeurIPS 2020)."""

    iterations: int = 100

    def check(self) -> None:
        within("SynFlow.iterations", self.iterations, 1)


@dataclass(frozen=True)
class Magnitude(Rule):
    """The largest weights of a trained run, pooled over layers (A: one-shot magnitude pruning, OMP)."""

    run: Train | Pinned
    checkpoint: str = "final"


@dataclass(frozen=True)
class Searched(Rule):
    """The mask that a search run (see :class:`replib.methods.robust_bird.BirdSearch`) stopped at."""

    search: Train | Pinned


@dataclass(frozen=True)
class Shuffled(Rule):
    """Another ticket's mask with its positions shuffled: within each layer, or over all of them.

    Answers whether a method's pattern matters or only how many weights it leaves to each layer (Frankle et al., ICLR 2021).
    """

    ticket: Job | Pinned
    across: Literal["layer", "network"] = "layer"


@dataclass(frozen=True)
class Ticket(Job):
    """A mask at `density` for the network that a seed initialises, by `rule`. Exactly round(D N) weights are kept.

    `scope`: "all" convolutions and the classifier, as in A; "conv" without the classifier, as in B and C.
    """

    kind: ClassVar[str] = "ticket"

    data: Data
    net: Net
    density: float
    rule: Rule
    scope: Literal["all", "conv"] = "all"

    def check(self) -> None:
        if not (isinstance(self.density, int | float) and 0 < self.density <= 1):
            raise SpecError(
                f"Ticket.density = {self.density!r} is not allowed; give the kept share in (0, 1], that is a sparsity in [0, 1): "
                f"90 % sparsity is density 0.1."
            )

    def label(self) -> str:
        return f"{type(self.rule).__name__} ticket at {100 * (1 - self.density):g} %"


def scoring_batch(split: Split, per_class: int) -> tuple[Tensor, Tensor]:
    """The first `per_class` training images of each class, as floats, and their classes."""
    picks = torch.cat([(split.train.y == c).nonzero().squeeze(1)[:per_class] for c in range(split.classes)])
    return to_float(split.train.x[picks]), split.train.y[picks]


def draw(job: Ticket, context: Context) -> tuple[nn.Module, Masks]:
    """The initial network of the context's seed and the masks of `job` for it."""
    split = load(job.data, context.data_root, context.device)
    template = Train(job.data, job.net, loss=CrossEntropy(), epochs=1, batch=1, validate=PGD(eps=0.0, steps=1))
    net = fresh(template, split, context.task.seed).to(context.device)
    weights = prunable(net, job.scope)
    shapes = {n: tuple(w.shape) for n, w in weights.items()}
    rng = generator(context.task.seed, "ticket")
    match job.rule:
        case Random():
            masks = global_random(shapes, job.density, rng)
        case Quota():
            masks = random_masks(shapes, quotas(job.rule.quota, shapes, job.density), rng)
        case SNIP() | GraSP():
            x, y = scoring_batch(split, job.rule.per_class)
            if job.rule.attack is not None:
                x = perturb(net.train(), x, y, job.rule.attack, rng)
            if isinstance(job.rule, SNIP):
                values = score.snip(net, weights, x, y)
            else:
                values = score.grasp(net, weights, x, y, temperature=job.rule.temperature)
            masks = global_top(values, job.density)
        case SynFlow():
            masks = score.synflow_masks(net, list(weights), split.shape, job.density, iterations=job.rule.iterations)
        case Magnitude():
            source = trained(context, context.parent(job.rule.run), job.rule.checkpoint, split)
            masks = global_top({n: w.detach().abs() for n, w in prunable(source, job.scope).items()}, job.density)
        case Searched():
            masks = searched(job, context, net)
        case Shuffled():
            shuffle = shuffle_layerwise if job.rule.across == "layer" else shuffle_global
            masks = shuffle(ticket_masks(context.store, context.parent(job.rule.ticket), net), rng)
        case _:
            raise SpecError(f"rule = {job.rule!r} is not known; give one of the rules of replib.methods.tickets.")
    return net, masks


def searched(job: Ticket, context: Context, net: nn.Module) -> Masks:
    """The mask a search kept for this density when its distances had settled."""
    shapes = {n: tuple(w.shape) for n, w in prunable(net, job.scope).items()}
    prefix = f"ticket@{job.density:g}/"
    packed = {n.removeprefix(prefix): a for n, a in context.store.arrays(context.parent(job.rule.search)).items() if n.startswith(prefix)}
    if not packed:
        raise SpecError(f"The search did not look for density {job.density:g}; add it to BirdSearch.densities.")
    return unpack(packed, shapes)


def run_ticket(job: Ticket, context: Context) -> Output:
    """Draw a ticket and record what it leaves of each layer."""
    net, masks = draw(job, context)
    kept = counts(masks)
    sizes = {n: m.numel() for n, m in masks.items()}
    emptied = [n for n, k in kept.items() if k == 0]
    return Output(
        results={
            "density": sum(kept.values()) / sum(sizes.values()),
            "kept": kept,
            "sizes": sizes,
            "emptied_layers": emptied,
        },
        arrays={f"mask/{n}": v for n, v in pack(masks).items()},
    )
