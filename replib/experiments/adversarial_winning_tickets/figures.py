"""The figures of learning curves: search and training by density, attack, network and data set. They share their runs."""

from __future__ import annotations

from collections.abc import Callable

from replib.experiments.adversarial_winning_tickets.rows import Subnetwork
from replib.experiments.adversarial_winning_tickets.runs import PAPER
from replib.experiments.adversarial_winning_tickets.searches import NATURAL_DENSITY, natural
from replib.experiments.adversarial_winning_tickets.tables import INITIAL, RANDOM, ladder, subnetwork
from replib.experiments.exhibit import Exhibit, drawing, rows_exhibit
from replib.experiments.places import CNN10, CNN100, CNN_MNIST, MLP_MNIST
from replib.experiments.profiles import Profile


def figure_1(p: Profile) -> list[Subnetwork]:
    """Neural tangent transfer and network surgery at 2 % of the weights, without attacks, and the dense network."""
    made = []
    for setting, (found, run) in natural(p).items():
        density = NATURAL_DENSITY if found else 1.0
        made.append(subnetwork(p, MLP_MNIST, setting, density, run, attack=None))
    return made


def figure_3(p: Profile) -> list[Subnetwork]:
    """The perceptron on MNIST at five densities, under Euclidean and under maximum-norm attacks."""
    return [row for norm in ("l2", "linf") for row in ladder(p, MLP_MNIST, p.foresight.perceptron, norm=norm, named=True)]


def figure_4(p: Profile) -> list[Subnetwork]:
    """The convolutional network on MNIST at 1 to 5 %."""
    return ladder(p, CNN_MNIST, p.foresight.low)


def figure_5(p: Profile) -> list[Subnetwork]:
    """The same on CIFAR-10, at 5 to 90 %."""
    return ladder(p, CNN10, p.foresight.wide)


def figure_6(p: Profile) -> list[Subnetwork]:
    """Tickets beside random structures and, as a control of ours, the largest initial weights on MNIST at 1 to 5 %."""
    return ladder(p, CNN_MNIST, p.foresight.low, beside=(RANDOM, INITIAL))


def figure_7(p: Profile) -> list[Subnetwork]:
    """Searches and curves on MNIST at 5 to 90 %."""
    return ladder(p, CNN_MNIST, p.foresight.wide)


def figure_8(p: Profile) -> list[Subnetwork]:
    """Natural and adversarial accuracy on MNIST at 10 to 90 %."""
    return ladder(p, CNN_MNIST, p.foresight.high)


def figure_10(p: Profile) -> list[Subnetwork]:
    """The same at 10 to 90 %."""
    return ladder(p, CNN_MNIST, p.foresight.high, beside=(RANDOM, INITIAL))


def figure_11(p: Profile) -> list[Subnetwork]:
    """Tickets beside random structures on CIFAR-100 at 10 to 90 %."""
    return ladder(p, CNN100, p.foresight.high, beside=(RANDOM,))


FIGURES: dict[str, tuple[str, Callable[[Profile], list[Subnetwork]]]] = {
    "figure_1": ("Neural tangent transfer and network surgery", figure_1),
    "figure_3": ("Search and training of the perceptron on MNIST", figure_3),
    "figure_4": ("The convolutional network on MNIST at low density", figure_4),
    "figure_5": ("The convolutional network on CIFAR-10", figure_5),
    "figure_6": ("Tickets and random structures on MNIST at low density", figure_6),
    "figure_7": ("Search and training of the convolutional network on MNIST", figure_7),
    "figure_8": ("The convolutional network on MNIST at high density", figure_8),
    "figure_10": ("Tickets and random structures on MNIST at high density", figure_10),
    "figure_11": ("Tickets and random structures on CIFAR-100", figure_11),
}
OUTLINE = drawing(f"{PAPER}/figure_2", "Outputs of a dense and a sparse network under adversarial training")
EXHIBITS: tuple[Exhibit, ...] = tuple(rows_exhibit(f"{PAPER}/{name}", title, rows) for name, (title, rows) in FIGURES.items())
