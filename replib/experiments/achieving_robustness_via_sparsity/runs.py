"""The paper's words as runs: base networks, one-shot pruning with inherited or new weights, tickets, inverse weights inheritance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from replib.experiments.places import TINY, VGG10, VGG100
from replib.experiments.profiles import Profile, Recipe
from replib.methods import FilterPruning, Magnitude, NetworkSlimming, Ticket
from replib.spec import Job
from replib.training.spec import Compose, Constant, CrossEntropy, Fresh, FromRun, Plateau, Slimming, Steps, Train

PAPER = "achieving_robustness_via_sparsity"
Stop = Literal["Stop-E", "Stop-C"]
METHODS = ("LUP", "GUP", "FP", "NS")
BEST = "best_sum"
FULL = 240
"""Epochs of a full run in the paper; other lengths are shares of it."""


def recipe(p: Profile, where: tuple[str, str]) -> Recipe:
    """The recipe of a place as this paper trains it: for its own number of epochs, evaluated with its own number of steps.

    Departs: beyond the paper profile Tiny-ImageNet has the learning rate of the others; with a tenth of it nothing is learned in so few
    steps.
    """
    r = p.recipe(*where)
    epochs = p.pruning.epochs * p.pruning.longer.get(where, 1) * r.epochs
    own = {"epochs": max(3, round(epochs)), "test_steps": p.pruning.steps}
    if where[0] == TINY[0]:
        own |= {"lr": r.lr * p.pruning.tiny_lr, "net": replace(r.net, stem_stride=p.pruning.tiny_stride)}
    return replace(r, **{name: value for name, value in own.items() if name not in dict(p.changes)})  # what was asked for stays


def share(r: Recipe, epochs: int) -> int:
    """Epochs of a run that takes `epochs` of the paper's 240, at least one."""
    return max(1, round(r.epochs * epochs / FULL))


def until(p: Profile, r: Recipe, stop: Stop, epochs: int = FULL) -> dict[str, Any]:
    """Length and schedule of a run. Stop-E divides the learning rate by ten after each third of `epochs` of the paper's 240; Stop-C when
    validation loss stalls, and ends the run when it has stalled at the lowest rate.

    Departs: a run whose loss does not stall is ended after three full ones; the paper gives no limit. Stop-E takes at least three epochs,
    one at each rate: of a short full run 45 epochs of 240 may be two.
    """
    if stop == "Stop-E":
        return {"epochs": max(3, share(r, epochs)), "schedule": Steps((1 / 3, 2 / 3))}
    longest = p.pruning.longest
    return {"epochs": round(longest * r.epochs), "schedule": Plateau(patience_fraction=p.pruning.patience / longest)}


def base(p: Profile, where: tuple[str, str], stop: Stop = "Stop-E") -> Train:
    """The large network, adversarially trained."""
    r = recipe(p, where)
    return r.pgd_at(**until(p, r, stop), name="Base network")


def again(p: Profile, where: tuple[str, str], stop: Stop) -> Train:
    """The base network trained a second time from its own weights, as the pruned ones are: what longer training is worth by itself."""
    r = recipe(p, where)
    return r.pgd_at(**until(p, r, stop), init=FromRun(base(p, where, stop), BEST), name="Base network, trained again")


def slimmed(p: Profile, where: tuple[str, str], stop: Stop) -> Train:
    """The large network trained with the penalty that network slimming is defined with, from which that method alone prunes.

    Departs: the paper does not say whether its base networks have the penalty, and prints one base for all methods. The strength is that of
    Liu et al. (1e-4 for VGG, 1e-5 for the others), in short runs multiplied so that scales shrink as far as in a long one.
    """
    plain = base(p, where, stop)
    strength = (1e-4 if where in (VGG10, VGG100) else 1e-5) * p.pruning.penalties.get(where, p.pruning.penalty)
    return replace(plain, loss=Slimming(plain.loss, strength), name="Base network for slimming")


def parent_of(p: Profile, where: tuple[str, str], method: str, stop: Stop) -> Train:
    """The network that a method prunes."""
    return slimmed(p, where, stop) if method == "NS" else base(p, where, stop)


def pruned(p: Profile, where: tuple[str, str], method: str, ratio: float, stop: Stop, *, inherit: bool = True) -> Train:
    """A network pruned in one shot and trained again, from the base's weights or (a "-rand" twin) from new ones.

    Departs: where slimming at a ratio of the paper would empty a layer, one channel of it is kept, and the network is a little larger
    than the ratio says. The paper leaves such cells empty; which they are depends on the network.
    """
    r, parent = recipe(p, where), parent_of(p, where, method, stop)
    rules = {
        "LUP": Magnitude(parent, BEST, layerwise=True),
        "GUP": Magnitude(parent, BEST),
        "FP": FilterPruning(parent, BEST),
        "NS": NetworkSlimming(parent, BEST, keep_one=True),
    }
    rule = rules[method]
    drawn = Ticket(r.data, r.net, round(1 - ratio, 6), rule, "all" if rule.structured else "conv")
    start = FromRun(parent, BEST) if inherit else Fresh(draw=1)
    name = method if inherit else f"{method}-rand"
    return r.pgd_at(**until(p, r, stop), ticket=drawn, init=start, name=name)


ROUNDS = {0.3: 1, 0.6: 3, 0.8: 4, 0.9: 3, 0.95: 3}
"""Rounds of pruning by total ratio (Table 3); each removes the same share of all weights."""


def rounds(
    r: Recipe, ratio: float, *, layerwise: bool = False, natural: bool = False, few_shot: bool = False, reset: bool = True
) -> list[Train]:
    """The short runs of Algorithm 1, each under the mask of the one before and from the initial weights, or (not `reset`) from its weights.

    Departs: the body of Algorithm 1 is not in our text. "Each iteration of pruning is preceded by 1 epoch of training", and "60 (20 × 3
    iter)" removes 20 % of the original weights each time; weights are reset before every round, as in the algorithm that it cites.
    Departs: of few-shot pruning and its learning rates the text says nothing more; here it is one round as long as all others together,
    at their learning rate: a round of one epoch ends before the first drop.
    """
    k = ROUNDS[ratio]
    made: list[Train] = []
    for i in range(1 if few_shot else k):
        drawn = ticket(r, ratio * i / k, made[-1], layerwise=layerwise) if made else None
        epochs = share(r, 1) * (k if few_shot else 1)
        rate = Constant() if few_shot else Steps((1 / 3, 2 / 3))
        run = r.pgd_at(epochs=epochs, schedule=rate, ticket=drawn, name=f"Ticket search, round {i + 1}")
        if made and not reset:
            run = replace(run, init=FromRun(made[-1], "final"))
        made.append(replace(run, loss=CrossEntropy()) if natural else run)
    return made


def ticket(r: Recipe, ratio: float, searching: Train, *, layerwise: bool = False) -> Ticket:
    """The mask that a round of Algorithm 1 ends with."""
    return Ticket(r.data, r.net, round(1 - ratio, 6), Magnitude(searching, "final", layerwise), "conv")


def winning(p: Profile, where: tuple[str, str], ratio: float, epochs: int = FULL, **arm: bool) -> tuple[Train, dict[str, Job]]:
    """A winning ticket trained for `epochs` of 240 from its initial weights, and the runs that found it."""
    r = recipe(p, where)
    found = rounds(r, ratio, **arm)
    drawn = ticket(r, ratio, found[-1], layerwise=arm.get("layerwise", False))
    run = r.pgd_at(epochs=share(r, epochs), schedule=Steps((1 / 3, 2 / 3)), ticket=drawn, name="Winning Ticket")
    return run, {f"round {i + 1}": s for i, s in enumerate(found)}


def penalised(p: Profile, where: tuple[str, str]) -> Train:
    """The large network with a penalty on its weights, which Section 4.4 tried "to impose sparsity in large networks, but it failed".

    Departs: neither the penalty nor its strength is in our text; here it is the sum of magnitudes, at a strength that pulls a weight of
    0.05 as hard as weight decay does.
    """
    plain = base(p, where)
    return replace(plain, loss=Slimming(plain.loss, 0.05 * plain.optim.weight_decay, "weights"), name="Sparsity penalty")


def inherited(p: Profile, where: tuple[str, str], ratio: float, stop: Stop) -> tuple[Train, dict[str, Job]]:
    """Inverse weights inheritance (Algorithm 2): the large network from a ticket trained for 120 epochs, then 45 more or until it stalls.

    Departs: batch normalisation is inherited from the ticket, of which the paper says nothing.
    """
    r = recipe(p, where)
    small, costs = winning(p, where, ratio, epochs=120)
    start = Compose(FromRun(small, BEST), Fresh(), small.ticket)
    large = r.pgd_at(**until(p, r, stop, epochs=45), init=start, name="Inverse Weights Inheritance")
    return large, costs | {"ticket": small}
