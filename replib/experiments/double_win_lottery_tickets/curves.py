"""Figures 3 to 5 and Table A2: accuracy over sparsity by pre-training, by pruning method and by part of the data."""

from __future__ import annotations

from dataclasses import replace

from replib.experiments.double_win_lottery_tickets.rows import Moved, curve, row
from replib.experiments.double_win_lottery_tickets.runs import IMP_ST, METHODS, PAPER, PRE_TRAININGS, RP, Downstream, percent, recipe
from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import TO_CIFAR10, TO_CIFAR100, TO_SVHN
from replib.experiments.profiles import Profile
from replib.training import Fresh, Train

TARGETS = (TO_CIFAR10, TO_CIFAR100, TO_SVHN)
TRAININGS = ("standard", "adversarial")
FRACTIONS = ("100%", "10%", "1%")


def pre_trainings(p: Profile, where: tuple[str, str]) -> list[Moved]:
    """Tickets of three pre-trainings, and random pruning of the adversarial one, under both trainings."""
    made = []
    for training in TRAININGS:
        d = Downstream(where, training)
        made += [r for kind in PRE_TRAININGS for r in curve(p, d, kind)] + curve(p, d, "adversarial", RP)
    return made


def figure_3(p: Profile) -> list[Moved]:
    """On CIFAR-10, with twenty seeds; claims span three data sets and read the five that all have."""
    return pre_trainings(p, TO_CIFAR10)


def figure_3_others(p: Profile) -> list[Moved]:
    """On the two other data sets."""
    return [r for where in (TO_CIFAR100, TO_SVHN) for r in pre_trainings(p, where)]


def figure_4(p: Profile) -> list[Moved]:
    """Four ways of pruning the adversarially pre-trained network."""
    return [
        r
        for where in TARGETS
        for training in TRAININGS
        for method in METHODS
        for r in curve(p, Downstream(where, training), "adversarial", method)
    ]


def figure_5(p: Profile) -> list[Moved]:
    """Adversarial transfer with all images and with parts of them."""
    return [
        r
        for where in TARGETS
        for fraction in FRACTIONS
        for kind in PRE_TRAININGS
        for r in curve(p, Downstream(where, "adversarial", fraction), kind)
    ]


A2 = (10, 12, 14)
"""Rounds of Table A2: 89.26, 93.13 and 95.60 %."""


def unseen(p: Profile) -> Train:
    """The unseen robust model of Table A2.

    Departs: the paper does not say which it is; here it is the downstream recipe from random weights of its own.
    """
    return recipe(p, Downstream(TO_CIFAR10)).pgd_at(init=Fresh(draw=1 + len(PRE_TRAININGS)), name="Unseen robust model")


def table_a2(p: Profile) -> list[Moved]:
    """Tickets of adversarial pre-training under images crafted on an unseen model and under the attack on themselves."""
    made = []
    words = "pre_training=adversarial; downstream_training=PGD-10; attack="
    for rounds in (0, *(n for n in A2 if n in p.transfer.rounds)):
        plain = row(p, Downstream(TO_CIFAR10), "adversarial", IMP_ST, rounds)
        plain = replace(plain, setting=IMP_ST if rounds else "Dense", sparsity_percent=percent(rounds), variant=f"{words}PGD-20")
        made += [plain, replace(plain, variant=f"{words}transfer from unseen robust model", surrogate=unseen(p))]
    return made


EXHIBITS: tuple[Exhibit, ...] = (
    rows_exhibit(f"{PAPER}/table_1", "Double-win tickets: definition and decisions", figure_3, "flagship"),
    rows_exhibit(f"{PAPER}/figure_3", "Transfer of tickets by pre-training", figure_3, "flagship", beside=(f"{PAPER}/figure_3_others",)),
    rows_exhibit(
        f"{PAPER}/figure_3_others",
        "Transfer of tickets by pre-training, two more data sets",
        figure_3_others,
        page=False,
        part_of="figure_3",
    ),
    rows_exhibit(f"{PAPER}/figure_4", "Transfer of tickets by pruning method", figure_4),
    rows_exhibit(f"{PAPER}/figure_5", "Transfer with parts of the data", figure_5),
    rows_exhibit(f"{PAPER}/table_a2", "Transfer attacks", table_a2),
)
