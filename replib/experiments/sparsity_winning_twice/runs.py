"""The paper's words as runs: what "Robust Bird at 90 %" on a data set and network is in a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from replib.experiments.profiles import Profile, Recipe
from replib.experiments.rows import Row
from replib.methods import (
    SNIP,
    BirdSearch,
    FlyingBird,
    FlyingBirdPlus,
    GraSP,
    Magnitude,
    Quota,
    Random,
    Searched,
    SynFlow,
    Ticket,
)  # fmt: skip
from replib.models.spec import small_dense
from replib.spec import Job
from replib.training import Constant, Train

PAPER = "sparsity_winning_twice"
STATIC = ("Small Dense", "Random Pruning", "OMP", "SNIP", "GraSP", "SynFlow", "IGQ", "Robust Bird")
FLYING = ("Flying Bird", "Flying Bird+")
PROPOSED = ("Robust Bird", *FLYING)
SETTINGS = (*STATIC, *FLYING)
"""The ten sparse settings of Table 1, in its order."""
DENSITIES = (0.2, 0.1)
"""80 and 90 % sparsity."""


def percent(density: float) -> float:
    """Sparsity in percent of a kept share."""
    return round(100 * (1 - density), 6)


def ticket(recipe: Recipe, density: float | Job, rule: object) -> Ticket:
    """A ticket for the recipe's network."""
    return Ticket(recipe.data, recipe.net, density, rule)


def searched(density: float) -> tuple[float, ...]:
    """The densities that share one search: 80 and 90 % do, others have their own."""
    return DENSITIES if density in DENSITIES else (density,)


def search(recipe: Recipe, density: float, regime: str = "SGD") -> Train:
    """The ticket search of Robust Bird, by standard training or by one of the two others of Table A6.

    The learning rate is constant: the drops of a full-length search, at epochs 50 and 150 of 200, lie behind its last epoch.

    Departs: in the search by fast adversarial training too. The paper takes "a cyclic schedule with a maximum learning rate" of 0.2
    (Appendix A2.2) and does not say over how many epochs the cycle of a search runs that ends when its masks settle; with one rate the
    three searches differ in nothing but the attack.
    """
    method = BirdSearch(densities=searched(density), tau=recipe.search_tau, relative=recipe.search_relative)
    epochs = max(2, round(recipe.search_share * recipe.epochs))
    made = {"SGD": recipe.standard, "Fast AT": recipe.fast_at, "PGD-10": recipe.pgd_at}[regime]
    changes = {"schedule": Constant(), "optim": recipe.pgd_at().optim}
    return made(epochs=epochs, method=method, name=f"Robust Bird search by {regime}", **changes)


def small(recipe: Recipe, density: float) -> Train:
    """A dense network with about that share of the weights."""
    net = small_dense(recipe.net, density, recipe.data.role.classes, recipe.data.shape)
    return recipe.pgd_at(net=net, name="Small Dense")


def baseline(recipe: Recipe, **changes: object) -> Train:
    """Dense PGD adversarial training."""
    return recipe.pgd_at(**({"name": "Baseline"} | changes))


def sparse(recipe: Recipe, name: str, density: float) -> tuple[Train, dict[str, Job]]:
    """The run of a sparse setting at `density`, and other jobs whose cost belongs to it."""
    base, dense = recipe.pgd_at(name=name), baseline(recipe)
    igq = Quota("igq")
    if name == "Small Dense":
        return small(recipe, density), {}
    if name in FLYING:
        interval = 2000 / recipe.iterations
        method = FlyingBird(interval) if name == "Flying Bird" else FlyingBirdPlus(interval)
        return replace(base, ticket=ticket(recipe, density, igq), method=method), {}
    costs: dict[str, Job] = {}
    if name == "OMP":
        costs = {"dense": dense}
    if name == "Robust Bird":
        costs = {"search": search(recipe, density)}
    rules = {
        "Random Pruning": Random(), "OMP": Magnitude(dense), "SNIP": SNIP(), "GraSP": GraSP(), "SynFlow": SynFlow(), "IGQ": igq,
    }  # fmt: skip
    rule = Searched(costs["search"]) if name == "Robust Bird" else rules[name]
    return replace(base, ticket=ticket(recipe, density, rule)), costs


def row(p: Profile, where: tuple[str, str], name: str, density: float = 1.0, **changes: object) -> Row:
    """One row of a table of accuracies: "Baseline" (density 1) or a sparse setting."""
    recipe = p.recipe(*where)
    run, costs = (baseline(recipe), {}) if name == "Baseline" else sparse(recipe, name, density)
    return Row(*where, percent(density), name, run, recipe.test_attack(), costs, **changes)


def grid(p: Profile, where: tuple[str, str], densities: Sequence[float], names: Sequence[str]) -> list[Row]:
    """Dense, and each of `names` at each density."""
    return [row(p, where, "Baseline"), *(row(p, where, name, d) for d in densities for name in names)]
