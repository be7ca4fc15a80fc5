"""Two columns of the scoreboard that cost no training: chance and fragility."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from replib.claims import resample
from replib.claims.conditions import all_hold
from replib.claims.records import Claim
from replib.claims.table import Cell, Sample, Table

PERMUTATIONS = 1000


def table(claim: Claim, sample: Sample, fetch: resample.Fetch, scope: str = "none", spread: Callable | None = None) -> Table:
    """The table that the claim's predicate sees."""
    return Table(sample, fetch, spread=spread, margin=claim.margin, scope=scope)


def rng(claim: Claim, purpose: str) -> np.random.Generator:
    """Random numbers of a claim and a purpose, the same in every run."""
    return np.random.default_rng(zlib.crc32(f"{claim.claim_id}/{purpose}".encode()))


def chance(
    claim: Claim, sample: Sample, cells: Sequence[Cell], seeds: Sequence[int], scope: str, permutations: int = PERMUTATIONS
) -> float | None:
    """Probability of the claim's conditions if the labels of the rows meant nothing; None where there is nothing to
    exchange."""
    if not _has_labels(cells):
        return None
    fetch = resample.permuted(sample, cells, seeds, rng(claim, "chance"), permutations)
    return float(all_hold(claim.predicate(table(claim, sample, fetch, scope))).mean())


def _has_labels(cells: Sequence[Cell]) -> bool:
    """Whether some block has two rows to exchange. Printed differences of two rows are no rows of their own."""
    rows: dict[tuple, set] = {}
    for c in cells:
        rows.setdefault((c.dataset, c.architecture, c.metric), set()).add((c.sparsity, c.setting, c.variant))
    return any(len(r) > 1 for r in rows.values()) and not any(c.metric.endswith("_gain_max") for c in cells)


def fragility(
    judge: Callable[[resample.Fetch], np.ndarray], cells: Sequence[Cell], values: Mapping[Cell, float]
) -> tuple[float | None, Cell | None]:
    """Smallest change of one number that turns the verdict, and the number.

    `judge` maps a fetch function to (replicates,) booleans. Changes up to 100 are tried in units of the measure:
    points for what is in percent, one hundredth of the largest value read for the rest (FLOPs, fractions, angles);
    the least in these units wins and is returned in the measure's own units, to four digits. (None, None) if no such
    change turns it.
    """
    largest: dict[str, float] = {}
    for c in cells:
        largest[c.metric] = max(largest.get(c.metric, 0.0), abs(values[c]))
    unit = {c: 1.0 if _in_percent(c.metric) else (largest[c.metric] or 1.0) / 100 for c in cells}
    grid = np.geomspace(1e-3, 100, 61)
    moves = [(c, sign) for c in cells if np.isfinite(values[c]) for sign in (1.0, -1.0)]
    truth = bool(judge(lambda c: np.array([values[c]]))[0])

    def flips(batch: Sequence[tuple[Cell, float]], steps: np.ndarray) -> np.ndarray:
        """(moves, steps) booleans: does the verdict turn when one cell moves by `steps` (moves, steps) units?"""
        count, per = steps.shape
        rows: dict[Cell, list[int]] = {}
        for i, (c, _) in enumerate(batch):
            rows.setdefault(c, []).append(i)

        def fetch(cell: Cell) -> np.ndarray:
            if cell not in rows:
                return np.broadcast_to(values[cell], (count * per,))
            out = np.full((count, per), values[cell])
            for i in rows[cell]:
                out[i] += batch[i][1] * steps[i] * unit[cell]
            return out.ravel()

        with np.errstate(divide="ignore", invalid="ignore"):  # a number may pass through 0 on its way
            return (judge(fetch) != truth).reshape(count, per)

    chunk = max(1, int(3e6 / (max(1, len(cells)) * len(grid))))
    turned = []
    for i in range(0, len(moves), chunk):
        batch = moves[i : i + chunk]
        hit = flips(batch, np.broadcast_to(grid, (len(batch), len(grid))))
        turned += [(m, int(h.argmax())) for m, h in zip(batch, hit, strict=True) if h.any()]
    if not turned:
        return None, None
    first = min(k for _, k in turned)
    batch = [m for m, k in turned if k == first]
    low = np.full(len(batch), grid[first - 1] if first else 0.0)
    high = np.full(len(batch), grid[first])
    for _ in range(3):  # each round narrows the bracket by 32
        steps = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 33)[1:]
        at = flips(batch, steps).argmax(axis=1)
        width = (high - low) / 32
        high = steps[np.arange(len(batch)), at]
        low = high - width
    best = int(high.argmin())
    cell = batch[best][0]
    size = high[best] if high[best] > 1e-6 else 0.0  # a number that sits on its bound
    return float(f"{size * unit[cell]:.4g}"), cell


def _in_percent(metric: str) -> bool:
    return not any(
        w in metric
        for w in (
            "flops",
            "fraction",
            "distance",
            "angle",
            "norm",
            "loss",
            "iou",
            "share",
            "entropy",
            "kernels",
            "cosine",
        )
    )
