"""Rows of C's curves: one ticket, or the whole network, transferred to one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replib.analysis.evaluation import Evaluate
from replib.experiments.double_win_lottery_tickets.runs import BEST, IMP_ST, STOPPED, Downstream, Kind, percent, recipe, transferred
from replib.experiments.profiles import Profile
from replib.experiments.rows import Line, right
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import FromRun, Train


@dataclass(frozen=True)
class Moved(Line):
    """Accuracies of a transferred network: SA after standard training, SA and RA after adversarial training.

    With `surrogate`, accuracy on images that were crafted on that network instead.
    """

    training: str = "adversarial"
    surrogate: Train | None = None

    @property
    def place(self) -> str:
        """Where the network is measured."""
        return f"{BEST[self.training]}/test"

    @property
    def evaluations(self) -> dict[str, Evaluate]:
        """What is measured, by metric."""
        if self.surrogate is not None:
            return {"transfer_attack_accuracy": Evaluate(self.run, self.attack, (self.place,), self.surrogate)}
        clean = {"standard_accuracy": Evaluate(self.run, None, (self.place,))}
        return clean | ({"robust_accuracy": Evaluate(self.run, self.attack, (self.place,))} if self.training == "adversarial" else {})

    def jobs(self) -> list[Job]:
        return [self.run, *self.evaluations.values()]

    def correct(self, reader: Reader, seed: int) -> dict[str, np.ndarray]:
        return {metric: right(reader, task(job, seed), self.place) for metric, job in self.evaluations.items()}

    def values(self, reader: Reader, seed: int) -> dict[str, float]:
        results = reader.results(task(self.run, seed))
        found = {m: reader.results(task(job, seed))[self.place]["accuracy"] for m, job in self.evaluations.items()}
        return found | {
            "stopped_early": stopped_early(reader, self.run.init, seed),
            "best_epoch": results["checkpoints"][BEST[self.training]]["epoch"],
            "lr_times_decay": results["lr_times_decay"],
            "train_seconds": reader.summary(task(self.run, seed))["cost"]["wall_seconds"],
        }


def stopped_early(reader: Reader, start: FromRun, seed: int) -> float:
    """1 where early stopping took an epoch of pre-training before the last, else 0."""
    found = reader.results(task(start.run, seed))
    return float(start.checkpoint == STOPPED and found["checkpoints"][STOPPED]["epoch"] < found["epochs"])


def row(p: Profile, d: Downstream, kind: Kind, method: str = IMP_ST, rounds: int = 0) -> Moved:
    """A ticket after so many rounds, or (0) the whole network under the name of the method that it is compared with."""
    run, words = transferred(p, d, kind, method, rounds), f"pre_training={kind}; {d.words}"
    return Moved(*d.where, percent(rounds), method, run, recipe(p, d).test_attack(), variant=words, training=d.training)


def curve(p: Profile, d: Downstream, kind: Kind, method: str = IMP_ST) -> list[Moved]:
    """The whole network and the tickets of one method, from dense to sparse."""
    return [row(p, d, kind, method, rounds) for rounds in (0, *p.transfer.moved)]
