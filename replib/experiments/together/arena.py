"""The papers' sources of masks in one arena: one network, one recipe, one final density, and shuffled twins of
all masks that are not random.

The density is the one at which Flying Bird+ of 80 % ends, seed by seed, so that the method that changes its own density decides it. A twin
keeps how many weights a mask leaves to each layer and shuffles where they are: what a method is ahead of its twin by is its pattern; of the
Flying Birds, whose twins keep the final mask throughout, it is the pattern and having changed it together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from replib.experiments.achieving_robustness_via_sparsity.runs import ROUNDS as LOTTERY
from replib.experiments.achieving_robustness_via_sparsity.runs import share
from replib.experiments.adversarial_winning_tickets.rows import milestones
from replib.experiments.adversarial_winning_tickets.searches import searching
from replib.experiments.exhibit import rows_exhibit
from replib.experiments.places import CIFAR10, VGG10
from replib.experiments.profiles import Profile, Recipe
from replib.experiments.rows import Row
from replib.experiments.sparsity_winning_twice.runs import FLYING, row, ticket
from replib.experiments.sparsity_winning_twice.tables import equal_density
from replib.methods import AWT, NTT, Magnitude, MaskSearch, Shuffled
from replib.root import TOGETHER
from replib.spec import Job, task
from replib.training import Train

ROUNDS = 8
"""Of iterative pruning. The eighth starts from 0.8 to the seventh power, 21 % of the weights, as Flying Bird+ of 80 % hardly ends with
more; its mask goes to the arena's density."""


ALIKE = {"NTT": "S-AWT"}
"""Masks that leave as many weights to each layer as another's, whose shuffled twin they share."""


def iterative(r: Recipe) -> list[Train]:
    """The rounds of iterative magnitude pruning as the third paper prunes: each trains the 80 % of the weights that the one before left
    largest, by standard training, from the first weights.

    Departs: that paper starts from weights that were pre-trained on other data; here a round starts from the initial weights of the seed
    and lasts a quarter of a run.
    """
    made: list[Train] = []
    for n in range(ROUNDS):
        drawn = ticket(r, round(0.8**n, 6), Magnitude(made[-1])) if made else None
        made.append(r.standard(epochs=max(1, round(r.epochs / 4)), ticket=drawn, name=f"IMP, round {n + 1}"))
    return made


def lottery(r: Recipe) -> list[Train]:
    """The rounds of the second paper's search for a ticket of 90 %: one epoch of 240 each, by adversarial training, from the first weights.

    Departs: that paper leaves the classifier dense; in the arena it is pruned with the rest, as every other mask prunes it.
    """
    ratio, made = 0.9, []
    for n in range(LOTTERY[ratio]):
        drawn = ticket(r, round(1 - ratio * n / LOTTERY[ratio], 6), Magnitude(made[-1])) if made else None
        made.append(r.pgd_at(epochs=share(r, 1), ticket=drawn, name=f"Winning Ticket, round {n + 1}"))
    return made


def masks(p: Profile, density: Train) -> dict[str, tuple[Job, dict[str, Job]]]:
    """The masks that the first paper does not draw, by setting, with the jobs whose cost belongs to them.

    Searches at initialization are as long and as fast as the fourth paper's for such networks at this scale.

    Departs: adversarial winning tickets are searched with the sampled diagonal of the kernel (S-AWT), as the fourth paper does for networks
    of this kind.
    Departs: neural tangent transfer has no penalty on active weights, which alone exchanged a fifth of the mask each time it was renewed.
    """
    r, s = p.recipe(*CIFAR10), p.foresight.searches[VGG10]
    pruned, drawn = iterative(r), lottery(r)
    goals = {"S-AWT": AWT(attack=r.attack(), entries="diagonal", refresh=s.refresh), "NTT": replace(NTT, refresh=s.refresh, penalty=0.0)}
    found: dict[str, tuple[Job, dict[str, Job]]] = {
        "IMP": (ticket(r, density, Magnitude(pruned[-1])), {f"round {i}": j for i, j in enumerate(pruned, 1)}),
        "Winning Ticket": (ticket(r, density, Magnitude(drawn[-1])), {f"round {i}": j for i, j in enumerate(drawn, 1)}),
    }
    made = {name: searching(r, s, density, goal) for name, goal in goals.items()}
    return found | {name: (search, {"search": search}) for name, search in made.items()}


def rows(p: Profile) -> list[Row]:
    """The rows of the first paper at equal final density, those of the masks that it does not draw, and the twins that it lacks."""
    r = p.recipe(*CIFAR10)
    ended = row(p, CIFAR10, "Flying Bird+", 0.2).run
    made = equal_density(p)
    for name, (mask, costs) in masks(p, ended).items():
        made.append(_row(r, name, r.pgd_at(ticket=mask, name=name), costs))
    return [*made, *_twins(r, ended, made)]


def _twins(r: Recipe, ended: Train, made: list[Row]) -> Iterator[Row]:
    """Shuffled twins of all masks that are not random to begin with. Of the Flying Birds it is the mask that they end with."""
    drawn = {line.setting: line.run.ticket for line in made}
    for line in made:
        name = f"{line.setting} (shuffled)"
        if line.setting in ("Baseline", "Random Pruning", "IGQ") or line.setting.endswith("(shuffled)") or name in drawn:
            continue
        mask = line.run if line.setting in FLYING else drawn[ALIKE.get(line.setting, line.setting)]
        yield _row(r, name, r.pgd_at(ticket=ticket(r, ended, Shuffled(mask)), name=f"{line.setting}, shuffled"), {})


def _row(r: Recipe, name: str, run: Train, costs: dict[str, Job]) -> Row:
    return Row(*CIFAR10, 80.0, name, run, r.test_attack(), costs)


def searched(r: Any) -> pd.DataFrame:
    """Both distances of the searches at initialization before their first and after their last step, one line a method, seed and metric."""
    runs = [line for line in r.exhibit.rows(r.profile) if isinstance(line.run.ticket, MaskSearch)]
    lines = []
    for line in runs:
        for seed in r.seeds:
            log = r.evidence.table(task(line.run.ticket, seed))
            found = milestones(log) | {"steps": float(log.step.iloc[-1])}
            lines += [{"setting": line.setting, "seed": seed, "metric": m, "value": v} for m, v in found.items() if not m.endswith("_half")]
    return pd.DataFrame(lines)


EXHIBIT = rows_exhibit(f"{TOGETHER}/arena", "The papers' masks under one recipe", rows)
