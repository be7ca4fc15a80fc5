"""The tables that compare settings under PGD-20: Tables 1 to 5, A6, A9 to A17, and three of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import CIFAR10, CIFAR100, TINY, VGG10, VGG100, WIDE
from replib.experiments.profiles import Profile, Recipe
from replib.experiments.rows import Row
from replib.experiments.sparsity_winning_twice.runs import (
    DENSITIES,
    FLYING,
    PAPER,
    PROPOSED,
    SETTINGS,
    grid,
    percent,
    row,
    search,
    sparse,
    ticket,
)
from replib.methods import FlyingBirdPlus, Magnitude, Quota, Searched, Shuffled

CONTROLS = ("SNIP", "GraSP", "SynFlow", "Robust Bird")
"""Settings of Table 1 whose pattern inside the layers is tested by shuffling it."""


def table_1(p: Profile) -> list[Row]:
    """Dense, and ten sparse settings at 80 and 90 %; fewer where the profile says so."""
    return grid(p, CIFAR10, DENSITIES, [name for name in SETTINGS if name in (p.settings or SETTINGS)])


def shuffled(p: Profile, name: str, density: float) -> Row:
    """The layer-wise shuffled twin of a row of Table 1: as many weights in each layer, at random places."""
    original = row(p, CIFAR10, name, density)
    mixed = ticket(p.recipe(*CIFAR10), density, Shuffled(original.run.ticket))
    run = replace(original.run, ticket=mixed, name=f"{name}, shuffled")
    return replace(original, setting=f"{name} (shuffled)", run=run, costs={})


def table_1_controls(p: Profile) -> list[Row]:
    """Layer-wise shuffled twins of four settings. Ours, not the paper's."""
    names = [name for name in CONTROLS if name in (p.settings or SETTINGS)]
    return [shuffled(p, name, density) for density in DENSITIES for name in names]


def table_2(p: Profile) -> list[Row]:
    """The three proposals at 80 % on three data sets."""
    return [r for where in (CIFAR10, CIFAR100, TINY) for r in grid(p, where, (0.2,), PROPOSED)]


def table_3(p: Profile) -> list[Row]:
    """The three proposals at 80 % with VGG-16."""
    return [r for where in (VGG10, VGG100) for r in grid(p, where, (0.2,), PROPOSED)]


INITIALIZATIONS = ("Uniform", "ERK", "SNIP", "GraSP", "SynFlow", "IGQ")
"""Rows of Table 4, in its order."""


def table_4(p: Profile) -> list[Row]:
    """Flying Bird+ from six layer-wise densities at 80 %. Positions are random whatever rule gave the densities.

    Departs: the paper's line for ideal gas quotas is the 90 % row of its Table 1; here all rows are at the 80 % of the caption.
    """
    density = 0.2
    original = row(p, CIFAR10, "Flying Bird+", density)
    made = []
    for name in INITIALIZATIONS:
        rule = Quota(name.lower()) if name in ("Uniform", "ERK", "IGQ") else Shuffled(row(p, CIFAR10, name, density).run.ticket)
        run = replace(original.run, ticket=ticket(p.recipe(*CIFAR10), density, rule), name=f"Flying Bird+ from {name}")
        made.append(replace(original, run=run, variant=f"sparse_initialization={name}"))
    return made


INTERVALS = (100, 500, 1000, 2000, 5000, 10000)
"""Iterations between mask updates in Table 5, of :data:`ITERATIONS` in a run."""
ITERATIONS = 70400


def steps_between(recipe: Recipe) -> dict[int, int | None]:
    """Steps between mask updates in a run of `recipe` by the paper's interval; None where the run has no such number of steps.

    An interval of less than one step, or that comes to as many steps as another one, cannot be told apart in so short a run.
    """
    total = -(-recipe.data.images("train") // recipe.batch) * recipe.epochs
    found: dict[int, int | None] = {}
    for n in sorted(INTERVALS, key=lambda n: n != 2000):  # the default first: every Flying Bird has it, and others may collide with it
        steps = total * n / ITERATIONS
        if n == 2000:
            found[n] = max(1, round(steps))
        else:
            found[n] = round(steps) if steps >= 1 and round(steps) not in found.values() else None
    return {n: found[n] for n in INTERVALS}


def represented(p: Profile) -> pd.DataFrame:
    """Which of Table 5's intervals the runs of a profile can have: iterations of the paper, steps here, and why not."""
    found = steps_between(p.recipe(*CIFAR10)).items()
    words = {None: "not representable: less than one step, or as many steps as another interval"}
    return pd.DataFrame([{"iterations in the paper": n, "steps here": words.get(steps, f"{steps}")} for n, steps in found])


def table_5(p: Profile) -> list[Row]:
    """Flying Bird+ at 80 % by the interval between mask updates, those that the profile's runs can represent."""
    original = row(p, CIFAR10, "Flying Bird+", 0.2)
    made = []
    for n, steps in steps_between(p.recipe(*CIFAR10)).items():
        if steps is not None:
            run = replace(original.run, method=FlyingBirdPlus(interval=n / ITERATIONS), name=f"Flying Bird+, {n} iterations")
            made.append(replace(original, run=run, variant=f"update_frequency_iterations={n}"))
    return made


REGIMES = {"SGD tickets": "SGD", "Fast AT tickets": "Fast AT", "PGD-10 tickets": "PGD-10"}
"""Rows of Table A6 and the training of their search."""


def table_a6(p: Profile) -> list[Row]:
    """Robust Bird at 90 and 95 % with tickets searched by three kinds of training."""
    recipe = p.recipe(*CIFAR100)
    rows = [row(p, CIFAR100, "Baseline")]
    for density in (0.1, 0.05):
        for name, regime in REGIMES.items():
            found = search(recipe, density, regime)
            run = recipe.pgd_at(ticket=ticket(recipe, density, Searched(found)), name=name)
            rows.append(Row(*CIFAR100, percent(density), name, run, recipe.test_attack(), {"search": found}))
    return rows


def fast_and_free(p: Profile) -> list[Row]:
    """Section A4.3's remark as a table: cheaper adversarial training combined with Flying Bird+, beside OMP and Robust Bird, at 80 %."""
    recipe, density = p.recipe(*CIFAR10), 0.2
    rows = [row(p, CIFAR10, name, 1.0 if name == "Baseline" else density) for name in ("Baseline", "OMP", "Robust Bird", "Flying Bird+")]
    mask = {"ticket": ticket(recipe, density, Quota("igq")), "method": FlyingBirdPlus()}
    for name, made in (("Fast AT", recipe.fast_at), ("Free AT", recipe.free_at)):
        both = f"{name}, Flying Bird+"
        rows.append(Row(*CIFAR10, 0.0, name, made(name=name), recipe.test_attack()))
        rows.append(Row(*CIFAR10, percent(density), both, made(name=both, **mask), recipe.test_attack()))
    return rows


EQUAL = ("Random Pruning", "OMP", "SNIP", "GraSP", "SynFlow", "IGQ", "Robust Bird", "Flying Bird")


def equal_density(p: Profile) -> list[Row]:
    """Every setting of Table 1 at the density at which Flying Bird+ of 80 % *ended*, seed by seed, with shuffled twins. Ours.

    Small Dense is left out: its widths are whole channels. Robust Bird's mask is that of the largest weights where its search ended,
    since a search decides for densities named beforehand.
    """
    recipe = p.recipe(*CIFAR10)
    original = row(p, CIFAR10, "Flying Bird+", 0.2)
    ended = original.run
    rows = [row(p, CIFAR10, "Baseline"), original]
    for name in EQUAL:
        like, costs = sparse(recipe, name, 0.2)
        rule = Magnitude(costs["search"]) if name == "Robust Bird" else like.ticket.rule
        mask = ticket(recipe, ended, rule)
        run = replace(like, ticket=mask)
        rows.append(Row(*CIFAR10, 80.0, name, run, recipe.test_attack(), costs))
        if name in CONTROLS:
            twin = replace(run, ticket=ticket(recipe, ended, Shuffled(mask)), name=f"{name}, shuffled")
            rows.append(Row(*CIFAR10, 80.0, f"{name} (shuffled)", twin, recipe.test_attack()))
    return rows


def compared(where: tuple[str, str], densities: tuple[float, ...], names: tuple[str, ...]) -> Callable[[Profile], list[Row]]:
    """The rows of a table that is a grid of sparsities and settings."""
    return lambda p: grid(p, where, densities, names)


NO_SMALL = SETTINGS[1:]
_GRIDS = (
    ("table_a9", "Dense and ten sparse settings at 95 %", CIFAR10, (0.05,), SETTINGS),
    ("table_a10", "Dense and nine sparse settings of VGG-16 at 80 and 90 %", VGG10, DENSITIES, NO_SMALL),
    ("table_a11", "Dense and ten sparse settings on CIFAR-100 at 80 and 90 %", CIFAR100, DENSITIES, SETTINGS),
    ("table_a12", "Dense and nine sparse settings of VGG-16 on CIFAR-100 at 80 and 90 %", VGG100, DENSITIES, NO_SMALL),
    ("table_a13", "Flying Bird and Flying Bird+ at 40 and 60 %", CIFAR10, (0.6, 0.4), FLYING),
    ("table_a14", "Flying Bird and Flying Bird+ on CIFAR-100 at 40 and 60 %", CIFAR100, (0.6, 0.4), FLYING),
    ("table_a15", "Flying Bird and Flying Bird+ with VGG-16 at 40 and 60 %", VGG10, (0.6, 0.4), FLYING),
    ("table_a16", "Flying Bird and Flying Bird+ with VGG-16 on CIFAR-100 at 40 and 60 %", VGG100, (0.6, 0.4), FLYING),
    ("table_a17", "Flying Bird and Flying Bird+ with WideResNet-34-10 at 80 and 90 %", WIDE, DENSITIES, FLYING),
)
EXHIBITS: tuple[Exhibit, ...] = (
    rows_exhibit(
        f"{PAPER}/table_1", "Dense and ten sparse settings at 80 and 90 %", table_1, "flagship", beside=(f"{PAPER}/table_1_controls",)
    ),
    rows_exhibit(f"{PAPER}/table_1_controls", "Layer-wise shuffled twins of four settings of Table 1", table_1_controls, page=False),
    rows_exhibit(f"{PAPER}/table_2", "The three proposals on three data sets at 80 %", table_2),
    rows_exhibit(f"{PAPER}/table_3", "The three proposals with VGG-16 at 80 %", table_3),
    rows_exhibit(f"{PAPER}/table_4", "Flying Bird+ by its sparse initialization", table_4),
    rows_exhibit(f"{PAPER}/table_5", "Flying Bird+ by the interval between mask updates", table_5),
    rows_exhibit(f"{PAPER}/table_a6", "Tickets searched by three kinds of training", table_a6),
    *(rows_exhibit(f"{PAPER}/{name}", title, compared(*rows)) for name, title, *rows in _GRIDS),
    rows_exhibit(f"{PAPER}/section_a4_3", "Cheaper adversarial training combined with Flying Bird+", fast_and_free),
    rows_exhibit(f"{PAPER}/equal_density", "Every method at equal final density", equal_density),
)
