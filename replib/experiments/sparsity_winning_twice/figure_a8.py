"""Figure A8: similarity of the masks of three training regimes at all pairs of epochs. The runs are those of Figure A7 too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.similarity import Similarity
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR100
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice.runs import PAPER, percent
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Steps, Train

MASK_DENSITIES = (0.2, 0.5)
"""80 % sparsity, that of Table 1, and 50 %: the paper names none, but only at 50 % is chance the 0.50 at which its colour bar begins."""
PAIRS = (("SGD", "PGD-10"), ("SGD", "Fast AT"), ("PGD-10", "Fast AT"))
STEPPED = "Fast AT (step decay)"
STEPPED_PAIRS = (("SGD", STEPPED), ("PGD-10", STEPPED), ("Fast AT", STEPPED))
SEARCH_DROP = 0.25  # first drop of the search's learning rate: epoch 50 of 200; the second, at 150, lies beyond what is looked at


def map_epochs(p: Profile) -> int:
    """Epochs that are compared: the first 100 of 200 in A."""
    return max(2, round(p.map_epochs * p.recipe(*CIFAR100).epochs))


def regimes(p: Profile) -> dict[str, Train]:
    """The three regimes of A, and Fast AT with the others' learning rate and schedule.

    Schedules are those of full-length searches. Regimes with step decay end with the last epoch that is compared; the cyclic schedule of
    Fast AT depends on the length of the run, which is therefore trained to its end.
    """
    recipe, epochs = p.recipe(*CIFAR100), map_epochs(p)
    kept = tuple(f"masks@{d:g}" for d in MASK_DENSITIES)
    half = {"epochs": epochs, "schedule": Steps((SEARCH_DROP * recipe.epochs / epochs,)), "retain": kept}
    return {
        "SGD": recipe.standard(name="SGD", **half),
        "PGD-10": recipe.pgd_at(name="PGD-10", **half),
        "Fast AT": recipe.fast_at(name="Fast AT", retain=kept),
        STEPPED: recipe.fast_at(name=STEPPED, optim=recipe.pgd_at().optim, **half),
    }


def similarity(p: Profile, pair: tuple[str, str], density: float) -> Similarity:
    """Two regimes' masks compared."""
    made = regimes(p)
    return Similarity(made[pair[0]], made[pair[1]], density, map_epochs(p))


def jobs(p: Profile) -> list[Job]:
    """All pairs at both densities."""
    return [similarity(p, pair, density) for density in MASK_DENSITIES for pair in (*PAIRS, *STEPPED_PAIRS)]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Mean similarity at equal epochs, at the first and at the last one, and that of independent masks. Fast AT's collapses are told."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_a8", CIFAR100, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for density in MASK_DENSITIES:
        for pair in (*PAIRS, *STEPPED_PAIRS):
            found = reader.results(task(similarity(p, pair, density), seed))
            line = {"setting": "/".join(pair), "sparsity_percent": percent(density), "seed": seed}
            yield line | {"metric": "mask_similarity", "value": found["equal_epochs"]}
            yield line | {"metric": "mask_similarity_first", "value": found["first"]}
            yield line | {"metric": "mask_similarity_last", "value": found["last"]}
            yield line | {"metric": "mask_similarity_chance", "value": found["chance"]}
    for name, run in regimes(p).items():
        found = reader.results(task(run, seed))
        line = {"setting": name, "sparsity_percent": None, "seed": seed}
        yield line | {"metric": "collapsed", "value": float(found["collapsed"])}
        yield line | {"metric": "lr_times_decay", "value": found["lr_times_decay"]}


def matrices(r: Any, density: float, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """What Figure A8 draws, mean over seeds: first, second (regimes), epoch_first, epoch_second, similarity, chance."""
    parts = []
    for pair in pairs:
        tasks = [task(similarity(r.profile, pair, density), seed) for seed in r.seeds]
        mean = np.mean([r.evidence.arrays(t)["similarity"] for t in tasks], axis=0)
        i, j = np.indices(mean.shape)
        columns = {"first": pair[0], "second": pair[1], "epoch_first": i.ravel() + 1, "epoch_second": j.ravel() + 1}
        chance = r.evidence.results(tasks[0])["chance"]
        parts.append(pd.DataFrame(columns | {"similarity": mean.ravel(), "chance": chance}))
    return pd.concat(parts, ignore_index=True)


EXHIBIT = Exhibit(f"{PAPER}/figure_a8", "Similarity of masks by epoch between three training regimes", jobs, read)
