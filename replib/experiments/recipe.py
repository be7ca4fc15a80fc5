"""A recipe: how one data set and architecture of the papers is trained and evaluated at a scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from replib.attacks import FGSM, PGD
from replib.data import Data
from replib.models import Net
from replib.training import PGDAT, SGD, CrossEntropy, Cyclic, FastAT, FreeAT, Steps, Train


@dataclass(frozen=True)
class Recipe:
    """How one (data set, architecture) of the papers is trained and evaluated at a scale."""

    data: Data
    net: Net
    eps: float
    epochs: int
    batch: int
    weight_decay: float
    lr: float = 0.1
    train_steps: int = 10
    train_step: float = 0.25
    val_steps: int = 20
    val_step: float = 0.25
    test_steps: int = 20
    precision: str = "fp32"
    accumulate: int = 1
    search_share: float = 0.25
    """Length of Robust Bird's search at most: 50 of 200 epochs, what the printed FLOPs of A imply."""
    search_tau: float = 0.1
    search_relative: bool = False
    free_replays: int = 8
    iterations: int = 70_400
    """Of a full run in the paper: what Flying Bird's interval of 2,000 iterations is a share of."""

    def attack(self, **changes: object) -> PGD:
        """The training attack."""
        return PGD(**({"eps": self.eps, "steps": self.train_steps, "step": self.train_step} | changes))

    def test_attack(self) -> PGD:
        """PGD-20 at step ε/4: what every table reports."""
        return PGD(eps=self.eps, steps=self.test_steps)

    def pgd_at(self, **changes: object) -> Train:
        """PGD adversarial training, the baseline of A; `changes` replace fields of :class:`Train`."""
        return replace(
            Train(
                data=self.data,
                net=self.net,
                loss=PGDAT(self.attack()),
                epochs=self.epochs,
                batch=self.batch,
                validate=PGD(eps=self.eps, steps=self.val_steps, step=self.val_step),
                optim=SGD(lr=self.lr, weight_decay=self.weight_decay),
                precision=self.precision,
                accumulate=self.accumulate,
            ),
            **changes,
        )

    def standard(self, **changes: object) -> Train:
        """Standard training with the drops of A's ticket search (one quarter and three quarters of the run)."""
        return self.pgd_at(**({"loss": CrossEntropy(), "schedule": Steps((0.25, 0.75))} | changes))

    def fast_at(self, *, guard: bool = False, **changes: object) -> Train:
        """Fast adversarial training with its cyclic schedule, whose peak is twice the base rate (0.2 in A)."""
        optim = SGD(lr=2 * self.lr, weight_decay=self.weight_decay)
        return self.pgd_at(**({"loss": FastAT(FGSM(eps=self.eps), guard), "schedule": Cyclic(), "optim": optim} | changes))

    def free_at(self, **changes: object) -> Train:
        """Free adversarial training: as many steps as a plain run, in that many fewer passes over the images."""
        epochs = max(2, math.ceil(self.epochs / self.free_replays))
        return self.pgd_at(**({"loss": FreeAT(self.eps, self.free_replays), "epochs": epochs} | changes))
