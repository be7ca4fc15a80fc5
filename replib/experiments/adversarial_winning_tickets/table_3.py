"""Table 3: the Gaussian toy problem, as the paper defines it, whatever the profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from replib.analysis.toy import Toy
from replib.experiments.adversarial_winning_tickets.runs import PAPER
from replib.experiments.exhibit import Exhibit
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.spec import Job, task
from replib.store.evidence import Reader

PLACE = ("two-Gaussian mixture (d=100)", "linear classifier")
METRICS = {
    "clean_accuracy_fraction": "accuracy", "angle": "angle", "cosine": "cosine", "adversarial_accuracy_fraction": "papers_robust_accuracy",
    "robust_accuracy_fraction": "robust_accuracy", "sample_accuracy_fraction": "sample_accuracy", "keeps_signal_share": "keeps_signal",
}  # fmt: skip
"""Metrics of the exhibit by what the job calls them. "Sample" is the accuracy on the points that a classifier was fitted to."""
GAMMAS = {"": 1e-3, ", γ² = 1": 1.0, ", γ² = 10⁻⁶": 1e-6}
"""Gamma squared by what is added to the setting's name. The last is the square of the printed gamma."""


def toys() -> dict[str, Toy]:
    """The problem with each weight of the kernel distance, by what is added to the name of the setting that it concerns."""
    return {suffix: Toy(kernel_weight=squared) for suffix, squared in GAMMAS.items()}


def jobs(p: Profile) -> list[Job]:
    """All of them: the problem is its own smallest scale."""
    return list(toys().values())


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """By classifier, with the scope of a problem that is run as it is defined."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "table_3", PLACE, (line for seed in done for line in _lines(reader, seed))).assign(scope="exact")


def _lines(reader: Reader, seed: int) -> Iterator[dict[str, Any]]:
    for suffix, job in toys().items():
        for setting, found in reader.results(task(job, seed)).items():
            if suffix and setting != "AWT":
                continue  # nothing else depends on gamma
            density = 100 * found["kept"] / job.dimension if setting not in ("Bayes", "SVM", "Adv.Tr") else 100
            line = {
                "setting": setting + suffix, "sparsity_percent": 100 - density, "variant": f"density={density:g}%", "seed": seed,
            }  # fmt: skip
            for metric, own in METRICS.items():
                yield line | {"metric": metric, "value": found[own]}


EXHIBIT = Exhibit(f"{PAPER}/table_3", "The Gaussian toy problem", jobs, read, "flagship")
