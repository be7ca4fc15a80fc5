"""Theorem 2 as an exhibit: for perceptrons, what the product of layer norms bounds, and how it goes with robustness.

Two series. *Sparsity*: one perceptron pruned by magnitude to growing ratios, on the data of CIFAR-10. *Weight decay*: perceptrons of one
structure, nothing pruned, that differ in weight decay alone and so in their norms, on the data of all three data sets. The claim is about
networks of one structure and reads the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.bounds import Norm, NormBound
from replib.analysis.evaluation import Evaluate
from replib.attacks.distortion import LARGEST, PIXEL
from replib.experiments.achieving_robustness_via_sparsity.runs import BEST, PAPER, recipe
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10, CIFAR100, TINY
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.methods import Magnitude, Ticket
from replib.models import Net
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import SGD, FromRun, Train

PLACES = (CIFAR10, CIFAR100, TINY)
RATIOS = (0.3, 0.6, 0.8, 0.9, 0.95)
DECAYS = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Weight decay as multiples of the recipe's."""
NORMS: tuple[Norm, ...] = ("linf", "l2")
RADIUS = {"linf": 0.1, "l2": 0.5}
"""Of the ball in which the Lipschitz constant is measured, in units of pixels from 0 to 1."""


@dataclass(frozen=True)
class Perceptron:
    """One network of the exhibit: on which data set, how much of it is pruned, its weight decay over the recipe's."""

    dataset: str
    run: Train
    ratio: float = 0.0
    decay: float | None = None  # of the dense networks that differ in it

    @property
    def labels(self) -> dict[str, Any]:
        """What it is called in the frame. The dense end of the sparsity series, trained again like the others, is none of the bases."""
        return {"setting": "GUP" if self.decay is None else "Baseline", "sparsity_percent": round(100 * self.ratio, 6)}

    def variant(self, norm: Norm) -> str:
        """The norm, and of dense networks the weight decay."""
        return f"norm={norm}" if self.decay is None else f"norm={norm}; weight_decay={self.decay:g}"


def networks(p: Profile) -> list[Perceptron]:
    """Perceptrons trained adversarially with several weight decays, and one of them pruned by magnitude over all layers and trained again,
    unpruned as well."""
    made = []
    for where in PLACES:
        r = replace(recipe(p, where), net=Net("mlp_small", width=8 if p.tiny else None))
        for decay in DECAYS:
            optim = SGD(lr=r.lr, weight_decay=decay * r.weight_decay)
            made.append(Perceptron(where[0], r.pgd_at(optim=optim, name=f"Perceptron, weight decay times {decay:g}"), decay=decay))
    r = replace(recipe(p, CIFAR10), net=Net("mlp_small", width=8 if p.tiny else None))
    dense = r.pgd_at()
    made.append(Perceptron(CIFAR10[0], r.pgd_at(init=FromRun(dense, BEST), name="Perceptron, trained again")))
    for ratio in RATIOS:
        drawn = Ticket(r.data, r.net, round(1 - ratio, 6), Magnitude(dense, BEST))
        run = r.pgd_at(ticket=drawn, init=FromRun(dense, BEST), name=f"Perceptron, {100 * ratio:g} % pruned")
        made.append(Perceptron(CIFAR10[0], run, ratio))
    return made


def bound(p: Profile, n: Perceptron, norm: Norm) -> NormBound:
    """Theorem 2 on the first hundred test images."""
    return NormBound(n.run, norm, radius=RADIUS[norm], images=10 if p.tiny else 100, samples=6 if p.tiny else 60)


def attacked(p: Profile, n: Perceptron) -> Evaluate:
    """Accuracy under the attack that the tables of the same data set use."""
    where = next(w for w in PLACES if w[0] == n.dataset)
    return Evaluate(n.run, recipe(p, where).test_attack(), (f"{BEST}/test",))


def clean(n: Perceptron) -> Evaluate:
    """Accuracy on the same images without an attack: whether the network has learned."""
    return Evaluate(n.run, None, (f"{BEST}/test",))


def jobs(p: Profile) -> list[Job]:
    """Bounds in both norms, and both accuracies, of every network."""
    return [job for n in networks(p) for job in (*(bound(p, n, norm) for norm in NORMS), attacked(p, n), clean(n))]


METRICS = {
    "log_norm_product": "log10_norm_product", "log_bound": "log10_bound", "log_measured": "log10_measured",
    "certified_radius": "certified_radius", "attacked_radius": "attacked_radius", "violations": "violations", "flat_share": "flat_share",
}  # fmt: skip


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """By network and norm: logarithms (base 10) of the product of the layers' norms, of the bound and of the measured constant, both radii
    in 1/255, and both accuracies."""
    done = complete(reader, jobs(p), seeds)
    frames = []
    for dataset, _ in PLACES:
        mine = [n for n in networks(p) if n.dataset == dataset]
        lines = (line for seed in done for n in mine for line in _lines(reader, p, n, seed))
        frames.append(tidy(PAPER, "theorem_2", (dataset, "MLP"), lines))
    return pd.concat(frames, ignore_index=True)


def _lines(reader: Reader, p: Profile, n: Perceptron, seed: int) -> Iterator[dict[str, Any]]:
    accuracies = {"adversarial_accuracy": attacked(p, n), "clean_accuracy": clean(n)}
    reached = {name: reader.results(task(job, seed))[f"{BEST}/test"]["accuracy"] for name, job in accuracies.items()}
    for norm in NORMS:
        found = reader.results(task(bound(p, n, norm), seed))
        line = n.labels | {"seed": seed, "variant": n.variant(norm)}
        yield from (line | {"metric": name, "value": value} for name, value in reached.items())
        for metric, own in METRICS.items():
            if found[own] is not None:
                yield line | {"metric": metric, "value": found[own]}
        radii = reader.arrays(task(bound(p, n, norm), seed))["attacked"]
        yield line | {"metric": "unbroken_percent", "value": unbroken(radii, norm, math.prod(n.run.data.shape))}


def unbroken(radii: np.ndarray, norm: Norm, pixels: int) -> float:
    """Percent of the images that are classified correctly (radius above 0) of which no radius that was tried made an adversarial one."""
    largest = LARGEST / PIXEL * (1 if norm == "linf" else math.sqrt(pixels))
    right = radii[radii > 0]
    return 100 * float((right >= largest * (1 - 1e-5)).mean()) if len(right) else math.nan


EXHIBIT = Exhibit(f"{PAPER}/theorem_2", "The product of layer norms as a bound", jobs, read)
