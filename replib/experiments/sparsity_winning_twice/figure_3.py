"""Figure 3: training trajectories in the plane of their first two principal components, and the loss in that plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.trajectory import Trajectory
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice import figure_5
from replib.experiments.sparsity_winning_twice.figure_5 import curvature, curvature_lines, flatness_lines, measures, surface_images
from replib.experiments.sparsity_winning_twice.runs import PAPER, percent, row
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train

PATHS = {"Baseline": 1.0, "Random Pruning": 0.1, "Flying Bird+": 0.1}
"""Settings of the figure, in its order, and their density at the start."""
POINTS = 31


def runs(p: Profile) -> dict[str, Train]:
    """Dense, random pruning and Flying Bird+ at 90 %, the runs of Table 1; all keep every epoch's weights."""
    return {name: replace(row(p, CIFAR10, name, density).run, retain=("weights",)) for name, density in PATHS.items()}


def trajectory(p: Profile, run: Train) -> Trajectory:
    """The path and the losses that are drawn; images attacked once, at the end, as the table's attack does it."""
    return Trajectory(run, p.recipe(*CIFAR10).test_attack(), points=5 if p.tiny else POINTS, images=surface_images(p))


def jobs(p: Profile) -> list[Job]:
    """The path of each network, and how flat the loss is around its end."""
    return [job for run in runs(p).values() for job in (trajectory(p, run), *measures(p, run), curvature(p, run))]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Shares of variance in percent; losses in nats at the end and at the start of training; and the numbers of Figure 5."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_3", CIFAR10, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, run in runs(p).items():
        line = {"setting": name, "sparsity_percent": percent(PATHS[name]), "seed": seed}
        found = reader.results(task(trajectory(p, run), seed))
        for n, share in enumerate(found["explained"], start=1):
            yield line | {"metric": "explained_variance_percent", "variant": f"component={n}", "value": 100 * share}
        for place in ("centre", "start"):
            for kind, metric in (("adversarial", "path_adversarial_loss"), ("clean", "path_loss")):
                yield line | {"metric": f"{metric}_{place}", "value": found[place][kind]}
        yield from (line | more for more in flatness_lines(reader, *measures(p, run), seed))
        yield from (line | more for more in curvature_lines(reader, curvature(p, run), seed))


def planes(r: Any, seed: int, kind: str = "adversarial") -> pd.DataFrame:
    """The loss over the planes of one seed: setting, a, b (coordinates in norms of the weights), loss in nats."""
    parts = []
    for name, run in runs(r.profile).items():
        arrays = r.evidence.arrays(task(trajectory(r.profile, run), seed))
        a, b = np.meshgrid(arrays["first"], arrays["second"], indexing="ij")
        parts.append(pd.DataFrame({"setting": name, "seed": seed, "a": a.ravel(), "b": b.ravel(), "loss": arrays[kind].ravel()}))
    return pd.concat(parts, ignore_index=True)


def paths(r: Any, seed: int) -> pd.DataFrame:
    """The paths of one seed, by epoch from 0: setting, epoch, a, b, lr (of the epoch that led there), drop, explained_1 and _2 in percent,
    and the network's own losses there in nats, clean and adversarial. `drop`: from here on the learning rate is lower.
    """
    parts = []
    for name, run in runs(r.profile).items():
        job = task(trajectory(r.profile, run), seed)
        arrays, explained = r.evidence.arrays(job), r.evidence.results(job)["explained"]
        lr = arrays["lr"]
        columns = {
            "setting": name, "seed": seed, "epoch": range(len(arrays["coordinates"])), "a": arrays["coordinates"][:, 0],
            "b": arrays["coordinates"][:, 1], "lr": [lr[0], *lr], "drop": [False, *(lr[1:] < lr[:-1]), False],
            "explained_1": 100 * explained[0], "explained_2": 100 * explained[1],
            "loss": arrays["clean_path"], "adversarial_loss": arrays["adversarial_path"],
        }  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def directions(r: Any) -> pd.DataFrame:
    """Intervals over random directions of the rise of the adversarial loss; see :func:`figure_5.directions`."""
    return figure_5.directions(r, {name: measures(r.profile, run)[0] for name, run in runs(r.profile).items()})


def widths(r: Any) -> pd.DataFrame:
    """Intervals over random directions of the width of the basin; see :func:`figure_5.widths`."""
    return figure_5.widths(r, {name: curvature(r.profile, run) for name, run in runs(r.profile).items()})


EXHIBIT = Exhibit(f"{PAPER}/figure_3", "Loss contours and training trajectories of dense and 90 % sparse networks", jobs, read)
