"""Specs of the attacks. `eps` is in pixel units of [0, 1] (8/255, not 8); `step` is a multiple of `eps`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replib.spec import Spec, SpecError, choose, within

BatchNormWhileAttacking = Literal["train", "eval", "train_frozen_stats"]
MEMBERS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")


@dataclass(frozen=True)
class Attack(Spec):
    """Base of all attacks."""

    def label(self) -> str:
        """Its name and steps, such as PGD-20, as tables call it."""
        return type(self).__name__ + (f"-{self.steps}" if hasattr(self, "steps") else "")


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient ascent, Madry et al., ICLR 2018. The last iterate counts, as in the papers, not the best one.

    `bn` says how a net that is in train() runs while it is attacked: ``"train"`` leaves it so (batch statistics;
    running statistics updated by every forward of the attack, as in the released code of Sparsity Winning Twice and of
    Double-Win Lottery Tickets), ``"eval"`` switches to running statistics, ``"train_frozen_stats"`` uses batch
    statistics and leaves the running ones alone. A net in eval() is always attacked in eval(). ``loss="margin"`` with
    ``norm="linf"`` is the bounded variant of CW.
    """

    eps: float
    steps: int = 10
    step: float = 0.25
    norm: Literal["linf", "l2"] = "linf"
    start: Literal["random", "zero"] = "random"
    loss: Literal["ce", "margin"] = "ce"
    bn: BatchNormWhileAttacking = "train"
    restarts: int = 1

    def check(self) -> None:
        within("PGD.eps", self.eps, 0, 1 if self.norm == "linf" else float("inf"))
        within("PGD.steps", self.steps, 1)
        within("PGD.step", self.step, 0, low_open=True)
        within("PGD.restarts", self.restarts, 1)
        if self.restarts > 1 and self.start == "zero":
            raise SpecError(f"PGD.restarts = {self.restarts} repeats one and the same attack when start = 'zero'; use start = 'random'.")


@dataclass(frozen=True)
class FGSM(Attack):
    """One signed step from a random start (FGSM-RS), Wong et al., ICLR 2020. ``start="zero", step=1`` is plain FGSM.

    ``bn="eval"`` is what the released code of Sparsity Winning Twice does; the code of Wong et al. attacks in train().
    """

    eps: float
    step: float = 1.25
    start: Literal["random", "zero"] = "random"
    bn: BatchNormWhileAttacking = "eval"

    def check(self) -> None:
        within("FGSM.eps", self.eps, 0, 1)
        within("FGSM.step", self.step, 0, low_open=True)


@dataclass(frozen=True)
class CW(Attack):
    """Unconstrained l2 attack of Carlini and Wagner, S&P 2017; defaults: appendix A3 of Sparsity Winning Twice.

    There is no bound on the perturbation: accuracy under CW says how often the optimiser failed, not robustness
    inside a ball.
    """

    search_steps: int = 1
    c: float = 0.1
    iterations: int = 100
    lr: float = 0.01
    confidence: float = 0.0

    def check(self) -> None:
        within("CW.search_steps", self.search_steps, 1)
        within("CW.c", self.c, 0, low_open=True)
        within("CW.iterations", self.iterations, 1)
        within("CW.lr", self.lr, 0, low_open=True)
        within("CW.confidence", self.confidence, 0)


@dataclass(frozen=True)
class AutoAttack(Attack):
    """Ensemble of Croce and Hein, ICML 2020, in their own code (package ``pyautoattack``).

    ``suite="custom"`` runs `members` only, e.g. ``("apgd-ce",)``.
    """

    eps: float
    suite: Literal["standard", "plus", "rand", "custom"] = "standard"
    norm: Literal["linf", "l2"] = "linf"
    members: tuple[str, ...] = ()

    def check(self) -> None:
        within("AutoAttack.eps", self.eps, 0, 1 if self.norm == "linf" else float("inf"))
        for member in self.members:
            choose("AutoAttack.members", member, MEMBERS)
        if (self.suite == "custom") != bool(self.members):
            raise SpecError(
                f"AutoAttack.members = {self.members!r} and AutoAttack.suite = {self.suite!r} contradict; "
                "name members with suite = 'custom' only."
            )
