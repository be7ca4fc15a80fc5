"""Tables A7 and A8: transfer attacks from and on an unseen model, AutoAttack and CW. Every attack is a job of its own."""

from __future__ import annotations

from dataclasses import replace

from replib.attacks import CW, PGD, AutoAttack
from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import CIFAR10, CIFAR100
from replib.experiments.profiles import Profile
from replib.experiments.rows import Row
from replib.experiments.sparsity_winning_twice.runs import PAPER, PROPOSED, grid
from replib.training import Train

PLACES = (CIFAR10, CIFAR100)


def unseen(p: Profile, dataset: str) -> dict[str, Train]:
    """The two readings of the unseen model, a ResNet-50: trained in the ordinary way (the caption's) and with PGD-10 (the text's)."""
    recipe = p.recipe(dataset, "ResNet-50")
    return {"unseen model": recipe.standard(name="Unseen model"), "robust unseen model": recipe.pgd_at(name="Unseen robust model")}


def table_a7(p: Profile) -> list[Row]:
    """Accuracy of four networks on images crafted on an unseen model, and of that model on images crafted on them."""
    made = []
    for where in PLACES:
        for original in grid(p, where, (0.2,), PROPOSED):
            for name, model in unseen(p, where[0]).items():
                for side in ("from", "on"):
                    variant = f"attack=transfer {side} {name}"
                    made.append(replace(original, surrogate=model, crafted_here=side == "on", variant=variant))
    return made


def stronger(p: Profile, where: tuple[str, str]) -> dict[str, CW | PGD | AutoAttack]:
    """The attacks of Table A8 by the paper's names, and the bounded variant of CW, which it does not have."""
    recipe = p.recipe(*where)
    ensemble = {"suite": "custom", "members": p.ensemble} if p.ensemble else {}
    return {
        "Auto-Attack": AutoAttack(eps=recipe.eps, **ensemble),
        "CW-Attack": CW(iterations=5) if p.tiny else CW(),
        "CW in the ball": replace(recipe.test_attack(), loss="margin"),
    }


def table_a8(p: Profile) -> list[Row]:
    """The same four networks under AutoAttack and CW, where dear on the first images of each split only."""
    return [
        replace(original, attack=attack, variant=f"attack={name}", images=p.ensemble_images)
        for where in PLACES
        for name, attack in stronger(p, where).items()
        for original in grid(p, where, (0.2,), PROPOSED)
    ]


EXHIBITS: tuple[Exhibit, ...] = (
    rows_exhibit(f"{PAPER}/table_a7", "Transfer attacks from and on an unseen model", table_a7),
    rows_exhibit(f"{PAPER}/table_a8", "AutoAttack and CW", table_a8),
)
