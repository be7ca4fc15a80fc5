"""The exhibits of *Sparsity Winning Twice* (ICLR 2022), in the paper's words."""

from __future__ import annotations

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
    Shuffled,
    SynFlow,
    Ticket,
)  # fmt: skip
from replib.models.spec import small_dense
from replib.spec import Job
from replib.training import Constant, Train

CIFAR10 = ("CIFAR-10", "ResNet-18")


def ticket(recipe: Recipe, density: float, rule: object) -> Ticket:
    """A ticket for the recipe's network."""
    return Ticket(recipe.data, recipe.net, density, rule)


def search(recipe: Recipe, densities: tuple[float, ...]) -> Train:
    """The ticket search of Robust Bird by standard training; one trajectory for all densities.

    The learning rate is constant: the drops of a full-length search, at epochs 50 and 150 of 200, lie behind its last epoch.
    """
    method = BirdSearch(densities=densities, tau=recipe.search_tau, relative=recipe.search_relative)
    epochs = max(2, round(recipe.search_share * recipe.epochs))
    return recipe.standard(epochs=epochs, schedule=Constant(), method=method, name="Robust Bird search by SGD")


DENSITIES = (0.2, 0.1)


def settings(recipe: Recipe, density: float) -> dict[str, tuple[Train, dict[str, Job]]]:
    """The ten sparse settings of Table 1 at `density`: the run, and other jobs whose cost belongs to it."""
    base = recipe.pgd_at()
    dense = replace(base, name="Baseline")

    def static(name: str, rule: object) -> tuple[Train, dict[str, Job]]:
        return replace(base, ticket=ticket(recipe, density, rule), name=name), {}

    found = search(recipe, DENSITIES)
    igq = ticket(recipe, density, Quota("igq"))
    small = small_dense(recipe.net, density, recipe.data.role.classes, recipe.data.shape)
    omp, _ = static("OMP", Magnitude(dense))
    bird, _ = static("Robust Bird", Searched(found))
    return {
        "Small Dense": (replace(base, net=small, name="Small Dense"), {}),
        "Random Pruning": static("Random Pruning", Random()),
        "OMP": (omp, {"dense": dense}),
        "SNIP": static("SNIP", SNIP()),
        "GraSP": static("GraSP", GraSP()),
        "SynFlow": static("SynFlow", SynFlow()),
        "IGQ": static("IGQ", Quota("igq")),
        "Robust Bird": (bird, {"search": found}),
        "Flying Bird": (replace(base, ticket=igq, method=FlyingBird(), name="Flying Bird"), {}),
        "Flying Bird+": (replace(base, ticket=igq, method=FlyingBirdPlus(), name="Flying Bird+"), {}),
    }


CONTROLS = ("SNIP", "GraSP", "SynFlow", "Robust Bird")


def table_1(profile: Profile) -> list[Row]:
    """Dense, and ten sparse settings at 80 and 90 %."""
    recipe = profile.recipe(*CIFAR10)
    rows = [Row(*CIFAR10, 0.0, "Baseline", recipe.pgd_at(name="Baseline"), recipe.test_attack())]
    for density in DENSITIES:
        made = settings(recipe, density)
        rows += [Row(*CIFAR10, percent(density), name, run, recipe.test_attack(), costs) for name, (run, costs) in made.items()]
    return rows


def table_1_controls(profile: Profile) -> list[Row]:
    """Layer-wise shuffled twins of four settings: the same number of weights in each layer at random places. Ours, not the paper's."""
    recipe = profile.recipe(*CIFAR10)
    rows = []
    for density in DENSITIES:
        made = settings(recipe, density)
        for name in CONTROLS:
            run = made[name][0]
            twin = replace(run, ticket=ticket(recipe, density, Shuffled(run.ticket)), name=f"{name}, shuffled")
            rows.append(Row(*CIFAR10, percent(density), f"{name} (shuffled)", twin, recipe.test_attack()))
    return rows


def percent(density: float) -> float:
    """Sparsity in percent of a kept share."""
    return round(100 * (1 - density), 6)
