"""Rows of B's tables: one network at the epoch with the highest sum of clean and adversarial accuracy on validation images."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from replib.analysis.distortion import Distortion
from replib.analysis.evaluation import Evaluate
from replib.data import Data
from replib.experiments.rows import Line, right, training_cost
from replib.methods import NetworkSlimming, Ticket
from replib.models import Net
from replib.models.build import build
from replib.sparsity.structure import channels, parameters
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train


@dataclass(frozen=True)
class Network(Line):
    """Clean and adversarial accuracy of one network and, where asked for, its distortion bound.

    Departs: the paper reports the epoch with the highest sum and does not say on which images; here validation images choose it.
    """

    checkpoint: str = "best_sum"
    distortion: Distortion | None = None

    @property
    def place(self) -> str:
        """Where the network is measured."""
        return f"{self.checkpoint}/test"

    @property
    def clean(self) -> Evaluate:
        """Accuracy on clean test images."""
        return Evaluate(self.run, None, (self.place,))

    @property
    def adversarial(self) -> Evaluate:
        """Accuracy under the attack."""
        return Evaluate(self.run, self.attack, (self.place,))

    def jobs(self) -> list[Job]:
        return [self.run, self.clean, self.adversarial, *self.costs.values(), *([self.distortion] if self.distortion else [])]

    def correct(self, reader: Reader, seed: int) -> dict[str, np.ndarray]:
        both = {"clean_accuracy": self.clean, "adversarial_accuracy": self.adversarial}
        return {metric: right(reader, task(job, seed), self.place) for metric, job in both.items()}

    def values(self, reader: Reader, seed: int) -> dict[str, float]:
        t = task(self.run, seed)
        results, spent = reader.results(t), reader.summary(t)["cost"]
        found = {
            "clean_accuracy": reader.results(task(self.clean, seed))[self.place]["accuracy"],
            "adversarial_accuracy": reader.results(task(self.adversarial, seed))[self.place]["accuracy"],
            "parameters": float(parameters_left(reader, self.run, seed)),
        }
        if self.checkpoint == "initial":  # of a network that has not been trained yet the rest would be that of its training
            return found
        found |= {
            "epochs": results["epochs"],
            "lr_times_decay": results["lr_times_decay"],
            "train_seconds": spent["wall_seconds"],
            "peak_memory_mib": spent["peak_memory_bytes"] / 2**20,
        }
        if isinstance(getattr(self.run.ticket, "rule", None), NetworkSlimming):
            kept, whole = reader.results(task(self.run.ticket, seed))["channels"], channels_of(self.run)
            found["channels_beyond_ratio"] = sum(kept.values()) - round(self.run.ticket.density * whole)
        paid = [task(job, seed) for job in (self.run, *self.costs.values())]
        found["training_flops_exact_e17"] = sum(training_cost(reader, p, "exact") for p in paid) / 1e17
        if self.distortion:
            bound = reader.results(task(self.distortion, seed))
            found |= {"distortion_bound": _number(bound["mean"]), "distortion_censored_share": _number(bound["censored_share"])}
        return found


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def parameters_left(reader: Reader, run: Train, seed: int) -> int:
    """All parameters of the run's network, batch normalisation and biases included, without those that its mask removes.

    Of channels that are removed whole, their biases and normalisation go too: then it is the count of the really smaller network.
    """
    whole = _parameters(run.net, run.data)
    if run.ticket is None:
        return whole
    assert isinstance(run.ticket, Ticket)
    drawn = reader.results(task(run.ticket, seed))
    return drawn.get("parameters", whole - sum(drawn["sizes"].values()) + sum(drawn["kept"].values()))


def channels_of(run: Train) -> int:
    """How many channels of the run's whole network can be removed."""
    return sum(c.size for c in channels(run.net, run.data.role.classes, tuple(run.data.shape)))


@functools.cache
def _parameters(net: Net, data: Data) -> int:
    return parameters(build(net, classes=data.role.classes, shape=data.shape, mean=(0.5,), std=(0.5,), generator=torch.Generator()))
