"""Are the controllers alive? Robust Bird's distances beside its threshold, Flying Bird+'s triggers beside shuffled signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from replib.experiments.registry import Results
from replib.experiments.rows import Row, searched_density
from replib.methods import BirdSearch, FlyingBirdPlus
from replib.plots.facts import table
from replib.spec import task

SHUFFLES = 2000


def shuffled_rate(plus: FlyingBirdPlus, gaps: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    """Percent of (prune, grow) triggers of one window if the epochs' order meant nothing: the series are shuffled as wholes."""
    rng = np.random.default_rng(0)
    fired = np.zeros(2)
    for _ in range(SHUFFLES):
        order = rng.permutation(len(gaps))[: plus.window + 1]
        fired += np.array(plus.signals(list(gaps[order]), list(losses[order]))) >= plus.frequency
    return tuple(100 * fired / SHUFFLES)


def _plus(r: Results, row: Row) -> dict[str, Any]:
    plus, rates = row.run.method, []
    for seed in r.seeds:
        m = r.evidence.table(task(row.run, seed))
        if "gap_rises" not in m:  # the run is shorter than one window: the controller never had anything to look at
            return {"Flying Bird+": f"never looks: {row.run.epochs} epochs, its window has {plus.window + 1}"}
        seen = m[m.epoch >= plus.t_start * row.run.epochs]  # finished epochs that the controller could look back at, and its first window
        windows = m[(m.epoch > plus.window) & (m.epoch >= plus.t_start * row.run.epochs) & (m.epoch < row.run.epochs)]
        fired = [100 * (windows[c] >= plus.frequency).mean() for c in ("gap_rises", "loss_rises")]
        rates.append([*fired, *shuffled_rate(plus, (seen.train_ra - seen.val_ra).to_numpy(), seen.val_robust_loss.to_numpy())])
    prune, grow, prune_shuffled, grow_shuffled = np.mean(rates, axis=0)
    return {
        "Flying Bird+ prunes more, % of epochs": prune, "prunes more if shuffled": prune_shuffled,
        "grows more, % of epochs": grow, "grows more if shuffled": grow_shuffled,
    }  # fmt: skip


def _bird(r: Results, search: Any, density: float) -> dict[str, Any]:
    rule: BirdSearch = search.method
    column = f"mask_distance{'_relative' if rule.relative else ''}@{density:g}"
    first, epochs = [], []
    for seed in r.seeds:
        t = task(search, seed)
        first.append(r.evidence.table(t)[column].dropna().iloc[0])
        epochs.append(r.evidence.results(t)["method"]["trigger"][f"{density:g}"])
    settled = [e for e in epochs if e]
    return {
        "Robust Bird's threshold": rule.tau,
        "first distance": float(np.mean(first)),
        "settled in epoch": ", ".join(map(str, settled)) or "never",
        "earliest possible": rule.queue + 1,
        "seeds that never settled": len(epochs) - len(settled),
    }


def alive(r: Results, rows: Sequence[Row] | None = None) -> HTML:
    """Two tables: by sparsity, the first mask distance beside the threshold, and how often triggers fire beside shuffled signals.

    Of the exhibit's own rows unless `rows` are given; a table that would be empty is left out.
    """
    birds, plus = [], []
    rows = r.exhibit.rows(r.profile) if rows is None else rows
    names = {"dataset": "data set", "architecture": "network", "variant": "variant"}
    apart = [c for c in names if len({row.labels()[c] for row in rows}) > 1]
    seen = set()
    for row in rows:
        level = {names[c]: row.labels()[c] for c in apart} | {"sparsity": f"{row.sparsity_percent:g} %", "setting": row.setting}
        if (row.run, row.setting) in seen:  # one run under several attacks is one controller
            continue
        seen.add((row.run, row.setting))
        if density := searched_density(row):
            birds.append(level | _bird(r, row.costs["search"], density))
        if isinstance(row.run.method, FlyingBirdPlus):
            plus.append(level | _plus(r, row))
    return HTML("".join(table(pd.DataFrame(lines), decimals).data for lines, decimals in ((birds, 2), (plus, 0)) if lines))
