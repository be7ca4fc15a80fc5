"""Figure A11: training curves of Flying Bird+ with the moments at which its controller prunes or grows more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import Row, complete, tidy
from replib.experiments.sparsity_winning_twice.runs import DENSITIES, PAPER, row
from replib.spec import Job, task
from replib.store.evidence import Reader

BOOSTS = {"prune_ratio_raises": "prune_boost", "growth_ratio_raises": "growth_boost"}


def rows(p: Profile) -> list[Row]:
    """Flying Bird+ at 80 and 90 % initial sparsity, the runs of Table 1."""
    return [row(p, CIFAR10, "Flying Bird+", density) for density in DENSITIES]


def jobs(p: Profile) -> list[Job]:
    """The runs alone: what is drawn is in their metrics and events."""
    return [one.run for one in rows(p)]


def boosted(events: pd.DataFrame, column: str) -> pd.DataFrame:
    """The updates of the mask in which `column` ("prune_boost" or "growth_boost") was in force; none where nothing was logged."""
    return events[events[column].astype(bool)] if column in events else events[:0]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Updates with more pruning and with more growth, updates in all, and by how many points the sparsity moved over the run."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_a11", CIFAR10, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for one in rows(p):
        t = task(one.run, seed)
        events, density = reader.table(t, "events"), 100 * reader.table(t).density
        line = {"setting": one.setting, "sparsity_percent": one.sparsity_percent, "seed": seed}
        for metric, column in BOOSTS.items():
            yield line | {"metric": metric, "value": float(len(boosted(events, column)))}
        yield line | {"metric": "mask_updates", "value": float(len(events))}
        yield line | {"metric": "sparsity_range", "value": density.max() - density.min()}
        yield line | {"metric": "final_density_percent", "value": density.iloc[-1]}


def curves(r: Any) -> pd.DataFrame:
    """Per epoch: sparsity_percent (initial), seed, epoch, train_ra, val_sa, val_ra, val_robust_loss (nats), density; percent otherwise."""
    parts = []
    for one in rows(r.profile):
        for seed in r.seeds:
            table = r.evidence.table(task(one.run, seed))[["epoch", "train_ra", "val_sa", "val_ra", "val_robust_loss", "density"]]
            parts.append(table.assign(density=100 * table.density, sparsity_percent=one.sparsity_percent, seed=seed))
    return pd.concat(parts, ignore_index=True)


def boosts(r: Any) -> pd.DataFrame:
    """Epochs with at least one boosted update, each once: sparsity_percent (initial), seed, epoch, kind ("prune" or "growth")."""
    found = [
        {"sparsity_percent": one.sparsity_percent, "seed": seed, "epoch": int(epoch), "kind": column.removesuffix("_boost")}
        for one in rows(r.profile) for seed in r.seeds for column in BOOSTS.values()
        for epoch in boosted(r.evidence.table(task(one.run, seed), "events"), column).get("epoch", pd.Series(dtype=int)).unique()
    ]  # fmt: skip
    return pd.DataFrame(found, columns=["sparsity_percent", "seed", "epoch", "kind"])


EXHIBIT = Exhibit(f"{PAPER}/figure_a11", "Training curves of Flying Bird+ with its boosts of pruning and growth", jobs, read, "flagship")
