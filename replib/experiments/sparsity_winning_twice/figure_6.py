"""Figure 6: where dense and sparse networks look on adversarial images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.attention import Attention
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.recipe import Recipe
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice.runs import PAPER, PROPOSED, baseline, percent, sparse
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train

NETWORKS = ("Baseline", *PROPOSED)
DENSITY = 0.2
"""80 % sparsity. The paper names none for this figure; it is that of most of its text."""
OBJECT_ABOVE = 0.5
"""Brightness from which a pixel of a clean stand-in picture belongs to the digit: white strokes on black, with soft rims."""
METRICS = tuple(f"{kind}_{what}" for kind in ("attention", "saliency") for what in ("entropy", "half_area", "on_object", "empty"))


def recipe(p: Profile) -> Recipe:
    """That of CIFAR-10 with ResNet-18, or its twin on larger pictures: the last stage sees 8x8 pictures as 2x2 maps."""
    return p.attention or p.recipe(*CIFAR10)


def runs(p: Profile) -> dict[str, Train]:
    """Dense and the three proposals at 80 %."""
    r = recipe(p)
    return {name: baseline(r) if name == "Baseline" else sparse(r, name, DENSITY)[0] for name in NETWORKS}


def attention(p: Profile, run: Train) -> Attention:
    """The maps of the final checkpoint under the attack of the tables."""
    above = OBJECT_ABOVE if run.data.role.embedded else None
    return Attention(run, recipe(p).test_attack(), images=20 if p.tiny else 200, object_above=above, samples=5 if p.tiny else 50)


def jobs(p: Profile) -> list[Job]:
    """One job a network."""
    return [attention(p, run) for run in runs(p).values()]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Entropy and half area in [0, 1], excess of mass on the object in [-1, 1], how many maps are empty, adversarial accuracy (%)."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_6", CIFAR10, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, run in runs(p).items():
        found = reader.results(task(attention(p, run), seed))
        line = {"setting": name, "sparsity_percent": 0.0 if name == "Baseline" else percent(DENSITY), "seed": seed}
        yield line | {"metric": "adversarial_accuracy", "value": found["accuracy"]}
        for metric in METRICS:
            if metric in found:  # on_object: only where the object is known
                yield line | {"metric": metric, "value": float(found[metric])}


def pictures(r: Any, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """What Figure 6 draws, by setting: clean and (attacked) images (8, C, H, W), attention and saliency (8, H, W), all in [0, 1];
    predicted and true (8,).
    """
    return {name: r.evidence.arrays(task(attention(r.profile, run), seed)) for name, run in runs(r.profile).items()}


EXHIBIT = Exhibit(f"{PAPER}/figure_6", "Grad-CAM and saliency maps on adversarial images", jobs, read)
