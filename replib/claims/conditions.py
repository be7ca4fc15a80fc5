"""Conditions: the inequalities that a claim comes down to, with arrays over replicates in place of numbers.

A predicate returns a list of these. Every array has one entry per replicate (one for the plain arithmetic on a
printed table, two thousand in a bootstrap), so that one call of a predicate judges all replicates at once.

"Above the best of the others" is one condition per other, not one on their maximum: the maximum of noisy numbers is
biased upwards, and a test of it finds contradictions where all are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-9
"""A violation as small as this is rounding noise where a condition allows equality."""


@dataclass(frozen=True)
class Condition:
    """One inequality. ``slack`` (replicates,) is the signed distance from the bound, positive where the condition
    holds.

    ``measure`` is "accuracy" or "gap" where the declared margin of equivalence applies, "correlation" where values end at -1 and 1, else
    "" (FLOPs, counts, and bounds that are a margin themselves: it is not granted twice). A condition that is not
    ``strict`` also holds at its bound ("no lower than").
    """

    name: str
    value: np.ndarray
    bound: np.ndarray | float
    slack: np.ndarray
    measure: str = ""
    strict: bool = True
    upper: bool = False  # the bound is an upper one
    choices_for: int = 1
    """In how many ways the condition could hold ("the better of two" is 2): its probability of error is multiplied by it."""
    choices_against: int = 1
    """The same for failing ("above the second smallest of seven" fails through any of seven)."""

    def holds(self) -> np.ndarray:
        """(replicates,) booleans."""
        return self.slack > ROUNDING if self.strict else self.slack >= -ROUNDING


def above(
    name: str,
    value: np.ndarray,
    bound: np.ndarray | float = 0.0,
    *,
    measure: str = "",
    strict: bool = True,
    choices: tuple[int, int] = (1, 1),
) -> Condition:
    """The condition value > bound (>= unless `strict`); `choices` are those for it and against it."""
    slack = np.asarray(value - bound, dtype=float)
    return Condition(name, value, bound, slack, measure, strict, choices_for=choices[0], choices_against=choices[1])


def below(name: str, value: np.ndarray, bound: np.ndarray | float = 0.0, *, measure: str = "", strict: bool = True) -> Condition:
    """The condition value < bound (<= unless `strict`)."""
    return Condition(name, value, bound, np.asarray(bound - value, dtype=float), measure, strict, upper=True)


def within(name: str, value: np.ndarray, margin: np.ndarray | float) -> list[Condition]:
    """The two one-sided conditions -margin < value < margin. Both rejecting at one level is the TOST procedure.

    They carry no measure: a margin of equivalence makes sense for orderings, and here the margin is the claim itself.
    """
    return [
        below(f"{name}, no more than the margin above", value, margin, strict=False),
        above(f"{name}, no more than the margin below", value, -np.asarray(margin, dtype=float), strict=False),
    ]


def all_hold(conditions: Sequence[Condition]) -> np.ndarray:
    """(replicates,) booleans: the conjunction."""
    return np.logical_and.reduce([c.holds() for c in conditions])


def stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """(K, replicates) from K arrays over replicates."""
    return np.stack(np.broadcast_arrays(*arrays))


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(replicates,) Spearman correlations over the first axis of two (K, replicates) arrays; 0 where one of them is
    constant."""
    from scipy.stats import rankdata  # here, since it takes a second that notebooks without rank correlations need not wait

    a, b = (rankdata(v, axis=0) for v in (x, y))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    return np.divide((a * b).sum(axis=0), norm, out=np.zeros_like(norm), where=norm > 0)


def kth_smallest(arrays: Sequence[np.ndarray], k: int) -> np.ndarray:
    """(replicates,) the k-th smallest of K arrays, k from 1."""
    return np.sort(stack(arrays), axis=0)[k - 1]
