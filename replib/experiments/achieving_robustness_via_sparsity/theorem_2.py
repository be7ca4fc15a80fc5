"""Theorem 2 in numbers: the bound, what it bounds, and what it certifies, for perceptrons of growing sparsity. Ours, not the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from replib.analysis.bounds import Norm, NormBound
from replib.analysis.evaluation import Evaluate
from replib.experiments.achieving_robustness_via_sparsity.runs import BEST, PAPER, recipe
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.methods import Magnitude, Ticket
from replib.models import Net
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import FromRun, Train

RATIOS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95)
NORMS: tuple[Norm, ...] = ("linf", "l2")
RADIUS = {"linf": 0.1, "l2": 0.5}
"""Of the ball in which the Lipschitz constant is measured, in units of pixels from 0 to 1."""
PLACE = (CIFAR10[0], "MLP")


def networks(p: Profile) -> dict[float, Train]:
    """A perceptron trained adversarially, and the same pruned by magnitude over all layers and trained on, by sparsity."""
    r = replace(recipe(p, CIFAR10), net=Net("mlp_small", width=8 if p.tiny else None))
    dense = r.pgd_at(name="Perceptron")
    found = {0.0: dense}
    for ratio in RATIOS[1:]:
        drawn = Ticket(r.data, r.net, round(1 - ratio, 6), Magnitude(dense, BEST))
        found[ratio] = r.pgd_at(ticket=drawn, init=FromRun(dense, BEST), name=f"Perceptron, {100 * ratio:g} % pruned")
    return found


def bound(p: Profile, run: Train, norm: Norm) -> NormBound:
    """Theorem 2 on the first hundred test images."""
    return NormBound(run, norm, radius=RADIUS[norm], images=10 if p.tiny else 100, samples=6 if p.tiny else 60)


def attacked(p: Profile, run: Train) -> Evaluate:
    """Accuracy under the attack that the tables use."""
    return Evaluate(run, recipe(p, CIFAR10).test_attack(), (f"{BEST}/test",))


def jobs(p: Profile) -> list[Job]:
    """Bounds in both norms, and the accuracy under attack, of every network."""
    return [job for run in networks(p).values() for job in (*(bound(p, run, n) for n in NORMS), attacked(p, run))]


METRICS = {
    "log_norm_product": "log10_norm_product", "log_bound": "log10_bound", "log_measured": "log10_measured",
    "certified_radius": "certified_radius", "attacked_radius": "attacked_radius", "violations": "violations",
}  # fmt: skip


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """By network and norm: logarithms (base 10) of the product of the layers' norms, of the bound and of the measured constant, both radii
    in 1/255, and adversarial accuracy."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "theorem_2", PLACE, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for ratio, run in networks(p).items():
        accuracy = reader.results(task(attacked(p, run), seed))[f"{BEST}/test"]["accuracy"]
        for norm in NORMS:
            found = reader.results(task(bound(p, run, norm), seed))
            line = {
                "setting": "Baseline" if ratio == 0 else "GUP", "sparsity_percent": round(100 * ratio, 6), "seed": seed,
                "variant": f"norm={norm}",
            }  # fmt: skip
            yield line | {"metric": "adversarial_accuracy", "value": accuracy}
            for metric, own in METRICS.items():
                if found[own] is not None:
                    yield line | {"metric": metric, "value": found[own]}


EXHIBIT = Exhibit(f"{PAPER}/theorem_2", "The product of layer norms as a bound", jobs, read)
