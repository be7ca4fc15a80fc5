"""Which sparsities are double wins (methods of Section 3 and 4.1 of C), as pure functions of accuracies by sparsity and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from replib.spec import SpecError

MEASURES = {
    "SA (ST)": ("standard", "standard_accuracy"),
    "SA (AT)": ("adversarial", "standard_accuracy"),
    "RA (AT)": ("adversarial", "robust_accuracy"),
}
"""The three measures of C: downstream training and metric."""
Rule = Literal["one standard deviation", "strict"] | float


def slack(dense: np.ndarray, rule: Rule) -> np.ndarray:
    """Points that a ticket may be below the dense mean: (...,) for dense accuracies (..., seeds).

    "one standard deviation" (n - 1) of the dense network over seeds is the rule of the paper's text, "strict" that of its definition (3),
    and a number a margin that does not depend on how noisy the dense network is. Of one seed there is no deviation, and no slack.
    """
    if rule == "strict" or (rule == "one standard deviation" and dense.shape[-1] < 2):
        return np.zeros(dense.shape[:-1])
    if rule == "one standard deviation":
        return dense.std(-1, ddof=1)
    return np.full(dense.shape[:-1], float(rule))


def wins(values: np.ndarray, rule: Rule = "one standard deviation") -> np.ndarray:
    """Which levels are double wins: bools (..., levels) for accuracies (..., measures, levels, seeds) whose level 0 is the dense network.

    A ticket matches in a measure if its mean over seeds is at least the dense mean less the slack; a double win matches in all. The dense
    network is one by definition.
    """
    dense = values[..., 0, :]
    floor = dense.mean(-1) - slack(dense, rule)
    return (values.mean(-1) >= floor[..., None] - 1e-9).all(-2)


def extreme(levels: Sequence[float], won: np.ndarray, *, contiguous: bool = False) -> np.ndarray:
    """The largest of `levels` that is a double win, for bools (..., levels); with `contiguous` all below it must be, too.

    `levels` are sparsities in percent, ascending from 0.
    """
    if len(levels) != won.shape[-1] or levels[0] != 0 or list(levels) != sorted(levels):
        raise SpecError(f"levels = {list(levels)!r} do not name the columns of `won`; give ascending sparsities from 0 on, one a column.")
    if contiguous:
        won = np.logical_and.accumulate(won, -1)
    return np.where(won, np.asarray(levels, float), 0.0).max(-1)


def bootstrap(levels: Sequence[float], values: np.ndarray, rule: Rule, *, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Extreme sparsities of samples of the seeds with replacement, (draws,): one sample for all levels and measures, which are paired."""
    picks = np.random.default_rng(seed).integers(values.shape[-1], size=(draws, values.shape[-1]))
    return extreme(levels, wins(np.moveaxis(values[..., picks], -2, 0), rule))


def accuracies(frame: pd.DataFrame) -> tuple[list[float], np.ndarray]:
    """Levels, and accuracies (measures, levels, seeds) of the rows of one data set, pre-training and pruning method.

    `frame`: tidy rows with the columns of all results, and downstream_training.
    """
    tables = []
    for training, metric in MEASURES.values():
        mine = frame[(frame.downstream_training == training) & (frame.metric == metric)]
        tables.append(mine.pivot(index="sparsity_percent", columns="seed", values="value").sort_index())
    return [float(x) for x in tables[0].index], np.stack([t.to_numpy() for t in tables])


def parts(variant: str) -> Mapping[str, str]:
    """The names and values of a variant."""
    return dict(part.strip().split("=", 1) for part in variant.split(";") if "=" in part)


def decisions(frame: pd.DataFrame, margin: float = 2.0) -> pd.DataFrame:
    """One line for each data set, pruning method, pre-training and sparsity: how far each measure's mean is above the dense one's, and
    whether the ticket is a double win by the rule of the paper's text, by its definition, and within `margin` points."""
    lines = []
    for (dataset, method, pre), mine in _grouped(frame):
        levels, values = accuracies(mine)
        gaps = values.mean(-1) - values[:, :1].mean(-1)
        rules = {"double win": "one standard deviation", "strictly": "strict", f"within {margin:g} points": margin}
        won = {name: wins(values, rule) for name, rule in rules.items()}
        for i, level in enumerate(levels):
            line = {"dataset": dataset, "setting": method, "pre_training": pre, "sparsity_percent": level}
            lines.append(line | {m: gaps[j, i] for j, m in enumerate(MEASURES)} | {name: bool(w[i]) for name, w in won.items()})
    return pd.DataFrame(lines)


def extremes(frame: pd.DataFrame, margin: float = 2.0) -> pd.DataFrame:
    """One line for each data set, pruning method and pre-training: the extreme sparsity by three rules, in percent, and with the margin the
    5 % and 95 % points of its distribution over samples of the seeds (missing for one seed)."""
    lines = []
    for (dataset, method, pre), mine in _grouped(frame):
        levels, values = accuracies(mine)
        won = wins(values)
        line = {
            "dataset": dataset, "setting": method, "pre_training": pre, "one standard deviation": extreme(levels, won),
            "without a gap below": extreme(levels, won, contiguous=True), "strict": extreme(levels, wins(values, "strict")),
            f"within {margin:g} points": extreme(levels, wins(values, margin)),
        }  # fmt: skip
        low, high = np.quantile(bootstrap(levels, values, margin), (0.05, 0.95)) if values.shape[-1] > 1 else (np.nan, np.nan)
        lines.append(line | {"5 %": low, "95 %": high})
    return pd.DataFrame(lines)


def _grouped(frame: pd.DataFrame):
    rows = frame[frame.metric.isin([metric for _, metric in MEASURES.values()])]
    named = rows.variant.map(parts).apply(pd.Series)
    return rows.join(named[["pre_training", "downstream_training"]]).groupby(["dataset", "setting", "pre_training"], sort=False)


def series(frame: pd.DataFrame) -> pd.DataFrame:
    """The accuracies of a frame as curves: dataset, setting, pre_training, data_fraction, measure ("SA (ST)", ...), sparsity_percent, seed,
    value."""
    named = frame.join(frame.variant.map(parts).apply(pd.Series))
    if "data_fraction" not in named:
        named = named.assign(data_fraction="100%")
    known = {which: measure for measure, which in MEASURES.items()}
    pairs = zip(named.downstream_training, named.metric, strict=True)
    named = named.assign(measure=[known.get(which) for which in pairs], data_fraction=named.data_fraction.fillna("100%"))
    columns = ["dataset", "setting", "pre_training", "data_fraction", "measure", "sparsity_percent", "seed", "value"]
    return named.dropna(subset="measure")[columns].reset_index(drop=True)


def gains(curves: pd.DataFrame) -> pd.DataFrame:
    """Of curves (see :func:`series`): by data set, part of the data, pre-training and measure the greatest mean gain of a ticket over the
    whole network in points, and the sparsity in percent where it is."""
    lines = []
    by = ["dataset", "data_fraction", "pre_training", "measure"]
    for which, mine in curves.groupby(by, sort=False):
        mean = mine.groupby("sparsity_percent").value.mean()
        gain = (mean - mean[0]).drop(0)
        lines.append(dict(zip(by, which, strict=True)) | {"greatest gain over dense": gain.max(), "at sparsity": gain.idxmax()})
    return pd.DataFrame(lines)
