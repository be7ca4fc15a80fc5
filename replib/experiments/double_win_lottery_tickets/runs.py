"""The paper's words as runs: pre-training, iterative pruning on the source, and transfer of tickets."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from replib.experiments.profiles import Profile, Recipe
from replib.experiments.transfer import Transfer
from replib.methods import Magnitude, Random, Ticket
from replib.training import PGDAT, SGD, Constant, Cosine, CrossEntropy, Fresh, FromRun, Released, Steps, Train
from replib.training.spec import Cyclic

PAPER = "double_win_lottery_tickets"
Kind = Literal["standard", "fast adversarial", "adversarial"]
PRE_TRAININGS: tuple[Kind, ...] = ("standard", "fast adversarial", "adversarial")
SHORT = {"standard": "STD", "fast adversarial": "FAT", "adversarial": "AT"}
IMP_ST, IMP_AT = "IMP with standard re-training", "IMP with adversarial re-training"
OMP, RP = "One-shot Magnitude Pruning", "Random Pruning"
METHODS = (IMP_ST, IMP_AT, OMP, RP)
STOPPED = "best_ra"
"""Checkpoint of fast adversarial pre-training: early stopping."""
BEST = {"standard": "best_sa", "adversarial": "best_ra"}
"""Checkpoint that is evaluated, by downstream training.

Departs: the paper does not say which checkpoint it reports; after adversarial training both accuracies are those of the epoch with the
highest robust accuracy on validation images.
"""


def kept(rounds: int) -> float:
    """Share of the weights that is left after so many rounds, each of which removes 20 % of what there is."""
    return round(0.8**rounds, 12)


def percent(rounds: int) -> float:
    """Sparsity after so many rounds as the paper prints it: 73.79 after six."""
    return round(100 * (1 - 0.8**rounds), 2)


def pretrained(p: Profile, kind: Kind) -> FromRun:
    """The pre-trained network: weights and buffers that every ticket returns to.

    Departs: where the files that others published are not used, as they are at the paper's scale, each seed pre-trains networks of its
    own on the source, each kind from initial weights of its own, both adversarial ones with one cyclic learning rate. Early stopping of the
    fast one is that of Rice et al., whom the paper cites: of its epochs the one with the highest robust accuracy on validation images.
    """
    return _pretrained(p.transfer, kind)


@functools.cache
def _pretrained(t: Transfer, kind: Kind) -> FromRun:
    r = t.source
    if t.released:
        name = SHORT[kind].lower()
        return FromRun(r.pgd_at(loss=CrossEntropy(), epochs=0, init=Released(name), name=f"Published network, {kind} training"))
    start = Fresh(draw=1 + PRE_TRAININGS.index(kind))  # draw 0 is the new classifier's of every transfer, which is to favour none
    robust = {"schedule": Cyclic(), "optim": SGD(lr=r.lr, weight_decay=r.weight_decay), "init": start}
    if kind == "fast adversarial":
        return FromRun(r.fast_at(**robust, name="Fast adversarial pre-training"), STOPPED)
    if kind == "adversarial":
        return FromRun(r.pgd_at(**robust, name="Adversarial pre-training"))
    return FromRun(r.standard(schedule=Steps(), init=start, name="Standard pre-training"))


def retrained(t: Transfer, kind: Kind, method: str, ticket: Ticket, rounds: int) -> Train:
    """A round of iterative pruning: the ticket, rewound to the pre-trained weights and buffers, trained on the source.

    Departs: the attack of adversarial re-training takes three steps, as the paper says, but of the recipe's size: ε/4 as printed in the
    paper profile, 0.7 ε where few steps have to reach the whole radius. The released code takes 2ε/3.
    """
    r = t.retrain
    loss = PGDAT(r.attack(steps=3)) if method == IMP_AT else CrossEntropy()
    name = f"{method} of {kind} pre-training, round {rounds}"
    return r.pgd_at(loss=loss, ticket=ticket, init=_pretrained(t, kind), schedule=Constant(), name=name)


def ladder(p: Profile, kind: Kind, method: str = IMP_ST) -> dict[int, Ticket]:
    """Tickets of iterative magnitude pruning by round; each is drawn from the weights that the round before ended with, the first from the
    pre-trained ones."""
    return _ladder(p.transfer, kind, method)


@functools.cache
def _ladder(t: Transfer, kind: Kind, method: str) -> dict[int, Ticket]:
    start, r, made = _pretrained(t, kind), t.source, {}
    first, *later = t.rounds
    made[first] = Ticket(r.data, r.net, kept(first), Magnitude(start.run, start.checkpoint), "conv")
    for before, now in pairwise((first, *later)):
        made[now] = Ticket(r.data, r.net, kept(now), Magnitude(retrained(t, kind, method, made[before], before)), "conv")
    return made


def ticket(p: Profile, kind: Kind, method: str, rounds: int) -> Ticket:
    """The ticket of a method at the sparsity of so many rounds."""
    r, start = p.transfer.source, pretrained(p, kind)
    if method == OMP:
        return Ticket(r.data, r.net, kept(rounds), Magnitude(start.run, start.checkpoint), "conv")
    if method == RP:
        return Ticket(r.data, r.net, kept(rounds), Random(), "conv")
    return ladder(p, kind, method)[rounds]


@dataclass(frozen=True)
class Downstream:
    """How a ticket is trained where it is transferred to: the place, the training, and which part of the images."""

    where: tuple[str, str]
    training: Literal["standard", "adversarial"] = "adversarial"
    fraction: str = "100%"

    @property
    def words(self) -> str:
        """As the variant of a row."""
        part = "" if self.fraction == "100%" else f"; data_fraction={self.fraction}"
        return f"downstream_training={self.training}{part}"


def recipe(p: Profile, d: Downstream) -> Recipe:
    """The recipe of a transfer.

    Departs: at the small scales parts of the training images have all classes alike; the released code takes the first images in file
    order, and so does the paper's own scale.
    """
    r, t = p.transfer.recipes[d.where], p.transfer
    if d.training == "standard":
        changed = dict(p.changes)  # what was asked for stays
        r = replace(r, val_steps=1, **{name: value for name, value in t.standard.items() if name not in changed})
    if d.fraction == "100%":
        return r
    whole = r.data.images("train")
    n = max(r.data.role.classes, int(whole * t.share(d.where, d.fraction)))
    part = replace(r, data=replace(r.data, n_train=n, n_val=t.val or r.data.n_val, subset=t.subset))
    if t.few_batch is None or "epochs" in dict(p.changes):
        return part
    steps = r.epochs * math.ceil(whole / r.batch)
    return replace(part, batch=t.few_batch, epochs=round(steps / math.ceil(n / t.few_batch)))


def transferred(p: Profile, d: Downstream, kind: Kind, method: str = IMP_ST, rounds: int = 0) -> Train:
    """A ticket (round 0: the whole network) from the pre-trained weights with a new classifier, trained downstream."""
    r = recipe(p, d)
    standard = d.training == "standard"
    return r.pgd_at(
        loss=CrossEntropy() if standard else PGDAT(r.attack()),
        optim=SGD(lr=r.lr, weight_decay=r.weight_decay),
        schedule=schedule(p, d),
        ticket=ticket(p, kind, method, rounds) if rounds else None,
        init=replace(pretrained(p, kind), head=False),
        name=f"{method if rounds else 'Dense'} from {kind} pre-training, {d.training} training",
    )


def schedule(p: Profile, d: Downstream) -> Steps | Cosine:
    """Learning rates: a cosine for adversarial training on SVHN (and where the profile says so), else drops: after one and two thirds of
    standard training, after one half and three quarters of adversarial training."""
    if d.training == "standard":
        return Steps((1 / 3, 2 / 3))
    return Cosine() if d.where[0] in p.transfer.cosine else Steps()
