"""Tickets: masks as jobs. One spec for every way of choosing which weights exist before training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from replib.attacks import PGD
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.augment import to_float
from replib.data.load import Split, load
from replib.models import Net
from replib.models.build import prunable
from replib.sparsity import scores as score
from replib.sparsity.masks import (
    Masks,
    counts,
    density,
    global_prune,
    global_random,
    global_top,
    layerwise_top,
    pack,
    random_masks,
    shuffle_global,
    shuffle_layerwise,
    size,
    unpack,
)
from replib.sparsity.quotas import quotas
from replib.spec import Job, Pinned, ReplibError, Spec, SpecError, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import fresh, ticket_masks, trained
from replib.training.spec import CrossEntropy, Train, check_checkpoint
from replib.training.state import generator


@dataclass(frozen=True)
class Scene:
    """What a rule may look at when it draws a mask.

    ``net`` is the network that the seed initialises, on the context's device; ``weights`` are its prunable parameters
    by name; ``rng`` is the generator of the mask (on the CPU), a stream that no other choice of the run reads.
    """

    job: Ticket
    context: Context
    split: Split
    net: nn.Module
    weights: dict[str, nn.Parameter]
    rng: torch.Generator

    @property
    def density(self) -> float:
        """Share of the weights to keep."""
        return kept_share(self.job, self.context)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the prunable weights by name."""
        return {n: tuple(w.shape) for n, w in self.weights.items()}


@dataclass(frozen=True)
class Rule(Spec):
    """How a mask is chosen: a frozen dataclass of choices with one method. A new rule is entered nowhere else.

    A rule that removes whole channels sets `structured`: its density counts channels, and how many weights go follows from them.
    """

    structured: ClassVar[bool] = False

    def facts(self, scene: Scene, masks: Masks) -> dict[str, Any]:
        """What else to record of the masks that were drawn."""
        return {}

    def draw(self, scene: Scene) -> Masks:
        """Boolean masks by parameter name, exactly round(density * N) of the N weights of ``scene.weights`` kept."""
        raise SpecError(
            f"{type(self).__name__} does not say how it draws a mask; give it a method draw(self, scene) that returns the masks."
        )


@dataclass(frozen=True)
class Random(Rule):
    """A uniformly random subset of all prunable weights, exactly round(D N) of them (A: Random Pruning)."""

    def draw(self, scene: Scene) -> Masks:
        return global_random(scene.shapes, scene.density, scene.rng)


@dataclass(frozen=True)
class Quota(Rule):
    """Random positions with exact layer-wise counts of a quota rule; "igq" is Flying Bird's initialization.

    Departs: the released code of A draws Bernoulli masks for every rule but IGQ; they have the density only on average.
    """

    quota: Literal["uniform", "er", "erk", "igq"] = "igq"

    def draw(self, scene: Scene) -> Masks:
        return random_masks(scene.shapes, quotas(self.quota, scene.shapes, scene.density), scene.rng)


@dataclass(frozen=True)
class SNIP(Rule):
    """|w dL/dw| at initialization on `per_class` training images of each class (Lee et al., ICLR 2019).

    `attack` scores on adversarial images; A does not say, its tables are compatible with clean ones.
    """

    version: ClassVar[int] = 2  # 13 images a class: at least 128 of ten classes

    per_class: int = 13
    attack: PGD | None = None

    def check(self) -> None:
        within("SNIP.per_class", self.per_class, 1)

    def draw(self, scene: Scene) -> Masks:
        x, y = scoring_batch(scene, self.per_class, self.attack)
        return global_top(score.snip(scene.net, scene.weights, x, y), scene.density)


@dataclass(frozen=True)
class GraSP(Rule):
    """-w (H g), largest removed, logits divided by `temperature` (Wang et al., ICLR 2020)."""

    version: ClassVar[int] = 2  # 13 images a class, as SNIP

    per_class: int = 13
    temperature: float = 200.0
    attack: PGD | None = None

    def check(self) -> None:
        within("GraSP.per_class", self.per_class, 1)
        within("GraSP.temperature", self.temperature, 0, low_open=True)

    def draw(self, scene: Scene) -> Masks:
        x, y = scoring_batch(scene, self.per_class, self.attack)
        return global_top(score.grasp(scene.net, scene.weights, x, y, temperature=self.temperature), scene.density)


@dataclass(frozen=True)
class SynFlow(Rule):
    """Iterative synaptic flow without data (Tanaka et al., NeurIPS 2020)."""

    iterations: int = 100

    def check(self) -> None:
        within("SynFlow.iterations", self.iterations, 1)

    def draw(self, scene: Scene) -> Masks:
        return score.synflow_masks(scene.net, list(scene.weights), scene.split.shape, scene.density, iterations=self.iterations)


@dataclass(frozen=True)
class Magnitude(Rule):
    """The largest weights of a trained run, or (None) of the network that the seed initialises, pooled over layers (A: one-shot magnitude
    pruning, OMP; B: GUP), or `layerwise` the largest of each layer at one density (B: LUP). `classifier` is then a density of its own for
    the last layer (D: the iterative ticket of Cosentino et al.); that of the other layers follows from the ticket's.

    Of a run that is sparse already, active weights only: masks of a ladder are nested (iterative magnitude pruning).

    Departs: of layer-wise counts that are no whole numbers, some are rounded up and some down, so that the whole network has the density.
    """

    run: Train | Pinned | None
    checkpoint: str = "final"
    layerwise: bool = False
    classifier: float | None = None

    def check(self) -> None:
        check_checkpoint("Magnitude.checkpoint", self.checkpoint)
        if self.classifier is not None:
            within("Magnitude.classifier", self.classifier, 0, 1)
            if not self.layerwise:
                raise SpecError("Magnitude.classifier is a density of one layer; give layerwise=True with it, or leave it out.")

    def draw(self, scene: Scene) -> Masks:
        parent = scene.context.parent(self.run) if self.run else None
        source = trained(scene.context, parent, self.checkpoint, scene.split) if parent else scene.net
        magnitudes = {n: w.detach().abs().cpu() for n, w in prunable(source, scene.job.scope).items()}  # masks are kept there
        masks = ticket_masks(scene.context.store, parent, source) if parent and parent.job.ticket else {}
        if masks and round(scene.density * size(masks)) > sum(counts(masks).values()):
            raise ReplibError(
                f"A ticket of density {scene.density:g} cannot be drawn from a run that has only {density(masks):.4g} of its weights left; "
                f"draw it from a denser run, such as an earlier round of the ladder, or give a density of at most that."
            )
        wanted = self.counts(scene.shapes, scene.density) if self.layerwise else {}
        if masks and (short := [n for n, k in wanted.items() if k > int(masks[n].sum())]):
            raise ReplibError(
                f"A layer-wise ticket of density {scene.density:g} wants more weights of {', '.join(short)} than the run that it is drawn "
                f"from has left there; draw it from a run that was pruned layer by layer too, or give a lower density."
            )
        if self.layerwise:  # pruned weights are exactly zero; of a magnitude each they would tie with weights that happen to be
            ranked = {n: torch.where(masks[n], m, -1.0) if masks else m for n, m in magnitudes.items()}
            return layerwise_top(ranked, wanted)
        if not masks:
            return global_top(magnitudes, scene.density)
        return global_prune(magnitudes, masks, sum(counts(masks).values()) - round(scene.density * size(masks)))

    def counts(self, shapes: dict[str, tuple[int, ...]], share: float) -> dict[str, int]:
        """Weights to keep in each layer, in forward order, together the share `share` of all."""
        if self.classifier is None:
            return quotas("uniform", shapes, share)
        sizes = {n: math.prod(shape) for n, shape in shapes.items()}
        last = list(sizes)[-1]
        kept = round(self.classifier * sizes[last])
        hidden = {n: shape for n, shape in shapes.items() if n != last}
        left = round(share * sum(sizes.values())) - kept
        return quotas("uniform", hidden, left / (sum(sizes.values()) - sizes[last])) | {last: kept}


@dataclass(frozen=True)
class Searched(Rule):
    """The mask that a search run (see :class:`replib.methods.robust_bird.BirdSearch`) stopped at."""

    search: Train | Pinned

    def draw(self, scene: Scene) -> Masks:
        prefix = f"ticket@{scene.density:g}/"
        arrays = scene.context.store.arrays(scene.context.parent(self.search))
        packed = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        if not packed:
            raise SpecError(f"The search did not look for density {scene.density:g}; add it to BirdSearch.densities.")
        return unpack(packed, scene.shapes)


@dataclass(frozen=True)
class Shuffled(Rule):
    """Another ticket's mask with its positions shuffled: within each layer, or over all of them.

    Answers whether a method's pattern matters or only how many weights it leaves to each layer (Frankle et al., ICLR
    2021).
    """

    version: ClassVar[int] = 2  # a stream of its own: from that of the ticket a random mask would be drawn again, not shuffled

    ticket: Job | Pinned
    across: Literal["layer", "network"] = "layer"

    def draw(self, scene: Scene) -> Masks:
        shuffle = shuffle_layerwise if self.across == "layer" else shuffle_global
        masks = ticket_masks(scene.context.store, scene.context.parent(self.ticket), scene.net)
        return shuffle(masks, generator(scene.context.task.seed, "shuffle"))


@dataclass(frozen=True)
class Ticket(Job):
    """A mask at `density` for the network that a seed initialises, by `rule`. Exactly round(D N) weights are kept.

    A run as `density` stands for the density that it ended with, which for Flying Bird+ is known only then.
    `scope`: "all" convolutions and the classifier, as in A; "conv" without the classifier, as in B and C.
    """

    kind: ClassVar[str] = "ticket"

    data: Data
    net: Net
    density: float | Train | Pinned
    rule: Rule
    scope: Literal["all", "conv"] = "all"

    def check(self) -> None:
        if isinstance(self.density, int | float) and not 0 < self.density <= 1:
            raise SpecError(
                f"Ticket.density = {self.density!r} is not allowed; give the kept share in (0, 1], that is a sparsity "
                f"in [0, 1): 90 % sparsity is density 0.1."
            )

    def label(self) -> str:
        return f"{type(self.rule).__name__} ticket at {sparsity_words(self.density)}"


def scoring_batch(scene: Scene, per_class: int, attack: PGD | None = None) -> tuple[Tensor, Tensor]:
    """The first `per_class` training images of each class as floats, perturbed by `attack` if any, and classes."""
    train = scene.split.train
    picks = torch.cat([(train.y == c).nonzero().squeeze(1)[:per_class] for c in range(scene.split.classes)])
    x, y = to_float(train.x[picks]), train.y[picks]
    return (x if attack is None else perturb(scene.net.train(), x, y, attack, scene.rng)), y


def draw(job: Ticket, context: Context) -> tuple[Scene, Masks]:
    """What the rule of `job` looked at, with the initial network of the context's seed, and the masks that it drew."""
    split = load(job.data, context.data_root, context.device)
    template = Train(job.data, job.net, loss=CrossEntropy(), epochs=1, batch=1, validate=PGD(eps=0.0, steps=1))
    net = fresh(template, split, context.task.seed).to(context.device)
    rng = generator(context.task.seed, "ticket")
    scene = Scene(job, context, split, net, prunable(net, job.scope), rng)
    return scene, job.rule.draw(scene)


def sparsity_words(density: float | Train | Pinned) -> str:
    """ "90 %" of a density of 0.1, or whose density it is."""
    return f"{100 * (1 - density):g} %" if isinstance(density, int | float) else "the density that another run ended with"


def kept_share(job: Any, context: Context) -> float:
    """The density of a ticket (or of a mask search) in numbers."""
    if isinstance(job.density, int | float):
        return job.density
    return context.store.results(context.parent(job.density))["density"]


def run_ticket(job: Ticket, context: Context) -> Output:
    """Draw a ticket and record what it leaves of each layer."""
    scene, masks = draw(job, context)
    kept, share = counts(masks), kept_share(job, context)
    if not job.rule.structured and sum(kept.values()) != (wanted := round(share * size(masks))):
        raise ReplibError(
            f"{type(job.rule).__name__} keeps {sum(kept.values())} of {size(masks)} weights where density {share:g} is {wanted}; "
            f"a ticket is compared with others at its density, so make the rule keep that many."
        )
    sizes = {n: m.numel() for n, m in masks.items()}
    emptied = [n for n, k in kept.items() if k == 0]
    return Output(
        results={
            "density": density(masks),
            "kept": kept,
            "sizes": sizes,
            "emptied_layers": emptied,
        }
        | job.rule.facts(scene, masks),
        arrays={f"mask/{n}": v for n, v in pack(masks).items()},
    )
