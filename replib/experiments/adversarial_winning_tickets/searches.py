"""The paper's words as runs: masks searched at the initial weights, networks trained under them, and their random and dense relatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from replib.attacks import PGD
from replib.experiments.foresight import Searching
from replib.experiments.places import MLP_MNIST
from replib.experiments.profiles import Profile
from replib.experiments.recipe import Recipe
from replib.methods import AWT, NTT, Magnitude, MaskSearch, Quota, Surgery, Ticket
from replib.methods.mask_search import Goal
from replib.models.tangent import Entries
from replib.spec import Job
from replib.training.spec import PGDAT, Adam, Constant, CrossEntropy, Fresh, FromRun, Train

Place = tuple[str, str]
RANDOM, INITIAL = "random structure", "magnitude at initialization"
"""Settings that stand beside tickets."""
Norm = Literal["linf", "l2"]


def recipe(p: Profile, place: Place) -> Recipe:
    """How networks of a place are trained and evaluated."""
    return p.foresight.recipes[place]


def as_printed(p: Profile, place: Place) -> Profile:
    """`p` with the radius that the paper prints for MNIST."""
    r = replace(recipe(p, place), eps=p.foresight.printed)
    return replace(p, foresight=replace(p.foresight, recipes={**p.foresight.recipes, place: r}))


def attack(p: Profile, place: Place, steps: int, norm: Norm = "linf") -> PGD:
    """An attack of so many steps of 2.5 radii over their number.

    Departs: the radius printed for MNIST, 0.3, is that of attacks in the maximum norm; the Euclidean attacks of Figure 3, for which none is
    printed, have it too.
    """
    eps = recipe(p, place).eps if norm == "linf" else p.foresight.radius
    return PGD(eps=eps, steps=steps, step=2.5 / steps, norm=norm)


def final_attack(p: Profile, place: Place, norm: Norm = "linf") -> PGD:
    """The attack that accuracies are reported under: PGD-100."""
    return attack(p, place, recipe(p, place).test_steps, norm)


def search(p: Profile, place: Place, density: float, norm: Norm = "linf", entries: Entries | None = None) -> MaskSearch:
    """Algorithm 1: the ticket of a density; `entries` of the kernel where not those of the place."""
    s = p.foresight.searches[place]
    kept = s.entries if entries is None else entries
    halved = s.kernel if kept == "all" else "whole"
    goal = AWT(attack(p, place, s.steps, norm), kernel=halved, entries=kept, refresh=s.refresh)
    return _searched(p, place, density, goal)


def _searched(p: Profile, place: Place, density: float, goal: Goal) -> MaskSearch:
    return searching(recipe(p, place), p.foresight.searches[place], density, goal)


def searching(r: Recipe, s: Searching, density: float | Train, goal: Goal) -> MaskSearch:
    """The search of a recipe's network for a goal, as long and as fast as `s` says."""
    return MaskSearch(
        r.data, r.net, density, goal, epochs=s.epochs, batch=s.batch, lr=s.lr, every=s.every, held_out=s.held_out, block=s.block
    )


def random(p: Profile, place: Place, density: float) -> Ticket:
    """A random structure with as many weights in each layer as the ticket has.

    Departs: D does not say how its random structures spread over layers; as its tickets do, so that only positions differ.
    """
    r = recipe(p, place)
    return Ticket(r.data, r.net, density, Quota("uniform"))


def largest(p: Profile, place: Place, density: float) -> Ticket:
    """The mask that a search starts from, never changed: the largest initial weights, with as many in each layer as the ticket has.

    Ours: beside the ticket it shows what the search adds, which a random structure alone does not.
    """
    r = recipe(p, place)
    return Ticket(r.data, r.net, density, Magnitude(trained(p, place, name="Dense"), "initial", layerwise=True))


def trained(p: Profile, place: Place, ticket: Job | None = None, norm: Norm = "linf", name: str = "") -> Train:
    """A network trained adversarially from its initial weights, dense or under a ticket: phase two."""
    r = recipe(p, place)
    return r.pgd_at(
        loss=PGDAT(attack(p, place, r.train_steps, norm)), validate=attack(p, place, r.val_steps, norm),
        optim=Adam(lr=r.lr, weight_decay=r.weight_decay), schedule=Constant(), ticket=ticket, name=name,
    )  # fmt: skip


NATURAL_DENSITY = 0.02
MNIST = (0.1307, 0.3081)
"""Mean and standard deviation of MNIST's pixels."""


SCRATCH = "DNS, trained from scratch"


def natural(p: Profile) -> dict[str, tuple[Job | None, Train]]:
    """Figure 1's masks and the runs that follow them, by setting: tuned for half the epochs of adversarial training, as the paper's 50
    beside 100.

    Surgery is tuned from the weights that it ends with; transfer trains from the initial ones ("from scratch"). Ours beside them: transfer
    from the transferred weights, as its authors do, surgery's mask from the initial ones, a random structure, and the largest initial
    weights. All start from normal weights with Glorot's variance on standardised pixels, as in the code of transfer's authors: without an
    attack there is no box to keep. Of pixels between 0 and 1 most are 0, so that most weights of the first layer have no gradient but its
    penalty's, which exchanges most of the mask each time it is renewed.
    """
    r, s = recipe(p, MLP_MNIST), p.foresight.searches[MLP_MNIST]
    half = {"loss": CrossEntropy(), "epochs": max(1, round(r.epochs / 2))}
    start, net = Fresh(scheme="glorot"), replace(r.net, standardise=MNIST)
    transfer, surgery = (
        replace(_searched(p, MLP_MNIST, NATURAL_DENSITY, goal), init=start, net=net, epochs=p.foresight.natural or s.epochs)
        for goal in (replace(NTT, refresh=s.refresh), Surgery())
    )
    dense = replace(trained(p, MLP_MNIST), net=net, init=start, name="full model", **half)
    anywhere, greatest = (
        Ticket(r.data, net, NATURAL_DENSITY, rule) for rule in (Quota("uniform"), Magnitude(dense, "initial", layerwise=True))
    )
    made = {
        "NTT": (transfer, start), "NTT, transferred weights": (transfer, FromRun(transfer)), "DNS": (surgery, FromRun(surgery)),
        SCRATCH: (surgery, start), RANDOM: (anywhere, start), INITIAL: (greatest, start),
    }  # fmt: skip
    runs = {name: (found, replace(dense, ticket=found, init=init, name=name)) for name, (found, init) in made.items()}
    return runs | {"full model": (None, dense)}
