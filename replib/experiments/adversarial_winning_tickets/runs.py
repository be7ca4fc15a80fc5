"""The paper's words as runs: the iterative adversarial ticket that it compares with."""

from __future__ import annotations

import math
from dataclasses import replace

from replib.experiments.recipe import Recipe
from replib.methods import Magnitude, Ticket
from replib.models import weight_shapes
from replib.training.spec import Adam, CleanAndAdversarial, Constant, Train

PAPER = "adversarial_winning_tickets"
ROUNDS = {48.7: 3, 83.1: 8, 91.3: 11, 96.4: 15, 98.2: 18}
"""Rounds of the iterative ticket by the sparsity, in percent, that Table 1 prints for what they leave."""
HIDDEN, OUTPUT = 0.8, 0.9
"""Shares of what remains that a round keeps, of a hidden layer and of the output layer (Cosentino et al., 2019)."""


def iterative_densities(r: Recipe, rounds: int) -> tuple[float, float]:
    """Share of all weights, and of those of the output layer, that are left after so many rounds."""
    *hidden, output = (math.prod(s) for s in weight_shapes(r.net, r.data.role.classes, r.data.shape).values())
    left = sum(hidden) * HIDDEN**rounds + output * OUTPUT**rounds
    return round(left / (sum(hidden) + output), 6), round(OUTPUT**rounds, 6)


def iterative_tickets(r: Recipe, rounds: int) -> list[Train]:
    """The dense network and the tickets of rounds 1 to `rounds`, each trained from the initial weights under the mask of the largest
    weights of the one before (Cosentino et al., 2019): half clean, half adversarial loss with smoothed labels, no biases.

    Their 50,000 steps a round are half of what D trains its own tickets for and their learning rate of 1.2e-3 is 1.2 times D's, and so they
    are at every scale.

    Departs: their attack has 10 steps of a sixth of the radius; where a recipe has fewer steps, these stand for both methods' attacks.
    """
    attack = r.attack(steps=10, step=1 / 6) if r.train_steps >= 10 else r.attack()
    plain = r.pgd_at(
        net=replace(r.net, bias=False), loss=CleanAndAdversarial(attack), epochs=max(1, round(r.epochs / 2)), batch=min(60, r.batch),
        optim=Adam(lr=round(1.2 * r.lr, 9)), schedule=Constant(), name="Iterative ticket, dense",
    )  # fmt: skip
    made = [plain]
    for n in range(1, rounds + 1):
        whole, output = iterative_densities(r, n)
        drawn = Ticket(plain.data, plain.net, whole, Magnitude(made[-1], layerwise=True, classifier=output))
        made.append(replace(plain, ticket=drawn, name=f"Iterative ticket, round {n}"))
    return made
