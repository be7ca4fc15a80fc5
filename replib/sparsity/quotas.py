"""How a global density is shared among layers. Pure functions of layer shapes, in float64, without torch.

A *density* is the share of weights kept, a *quota* the number of weights kept in a layer. All rules return densities d
with sum(d * n) = density * sum(n); :func:`quotas` rounds them to whole weights that add up exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from replib.spec import ReplibError, choose, within

Shapes = Mapping[str, Sequence[int]]


def sizes(shapes: Shapes) -> np.ndarray:
    """Number of weights of each layer, float64."""
    return np.array([math.prod(shape) for shape in shapes.values()], dtype=np.float64)


def uniform(shapes: Shapes, density: float) -> np.ndarray:
    """The same density everywhere."""
    return np.full(len(shapes), float(density))


def uniform_dense_first(shapes: Shapes, density: float) -> np.ndarray:
    """First layer dense, one density for the others (Evci et al. 2020, "uniform").

    Departs: RigL leaves the other layers at `density` and so exceeds it; here the total is kept. Raises
    :class:`~replib.spec.ReplibError` if the first layer alone exceeds it.
    """
    n = sizes(shapes)
    if n[0] > density * n.sum():
        raise ReplibError(
            f"The first layer alone has {n[0]:.0f} weights, more than density {density:g} leaves for the whole net; "
            f"choose another rule or a density of at least {n[0] / n.sum():.4g}."
        )
    return _spread(n, np.r_[np.inf, np.ones(len(n) - 1)], density)


def er(shapes: Shapes, density: float) -> np.ndarray:
    """Erdős-Rényi: density proportional to (inputs + outputs) / (inputs * outputs), at most 1 (Mocanu et al. 2018)."""
    ratio = np.array([(shape[0] + shape[1]) / (shape[0] * shape[1]) for shape in shapes.values()])
    return _spread(sizes(shapes), ratio, density)


def erk(shapes: Shapes, density: float) -> np.ndarray:
    """Erdős-Rényi-kernel: density proportional to sum / product of all dimensions, capped at 1 (Evci et al. 2020).

    Departs: the official code of Sparsity Winning Twice searches the factor and does not handle layers that saturate;
    here the sum is exact.
    """
    ratio = np.array([sum(shape) / math.prod(shape) for shape in shapes.values()])
    return _spread(sizes(shapes), ratio, density)


def _spread(n: np.ndarray, ratio: np.ndarray, density: float) -> np.ndarray:
    """min(1, eps * ratio) with eps such that density * sum(n) weights remain.

    Layers are made dense one round at a time, those with the largest ratio first, because a layer that saturates hands
    its share to the others and may saturate them too.
    """
    full = np.isinf(ratio)
    finite = np.where(full, 0.0, ratio)
    while not full.all():
        eps = (density * n.sum() - n[full].sum()) / (n * finite)[~full].sum()
        if (eps * finite)[~full].max() <= 1:
            return np.where(full, 1.0, np.maximum(eps * finite, 0.0))
        full = full | (~full & (finite == finite[~full].max()))
    return np.ones_like(n)


def igq_force(n: np.ndarray, density: float) -> float:
    """Force F > 0 with sum(n / (1 + F n)) = density * sum(n), by bisection in log F; 0 at density 1.

    The left side falls strictly from sum(n) to 0, so the root is unique. Bracket: the smallest and largest layers bound
    the density at a force, and the left side is below len(n) / F.
    """
    if density == 1:
        return 0.0
    squeeze = 1 / density - 1
    target = density * n.sum()
    low, high = squeeze / n.max(), min(squeeze / n.min(), len(n) / target)
    for _ in range(200):
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        low, high = (middle, high) if (n / (1 + middle * n)).sum() > target else (low, middle)
    return math.sqrt(low * high)


def igq(shapes: Shapes, density: float) -> np.ndarray:
    """Ideal gas quotas: d = 1 / (1 + F n), one force F for all layers (Vysogorets and Kempe 2023; used by Flying Bird).

    No layer saturates or empties; small layers stay denser.
    """
    n = sizes(shapes)
    return 1 / (1 + igq_force(n, density) * n)


RULES = {"uniform": uniform, "uniform_dense_first": uniform_dense_first, "er": er, "erk": erk, "igq": igq}


def largest_remainder(values: Sequence[float] | np.ndarray, total: int) -> np.ndarray:
    """Whole numbers (int64) that sum to `total`: `values` rounded down, the largest remainders up, earlier first.

    Raises ValueError if `total` cannot be reached by rounding each value up or down.
    """
    values = np.asarray(values, dtype=np.float64)
    near = np.rint(values)
    values = np.where(np.abs(values - near) < 1e-9 * np.maximum(1, near), near, values)  # 36863.999999999 is 36864
    floor = np.floor(values).astype(np.int64)
    missing = int(total) - int(floor.sum())
    part = values - floor
    if not 0 <= missing <= np.count_nonzero(part):
        raise ValueError(
            f"{len(values)} values with sum {values.sum():.6g} cannot be rounded to the total {total}; pass their rounded sum."
        )
    floor[np.argsort(-part, kind="stable")[:missing]] += 1
    return floor


def quotas(rule: str, shapes: Shapes, density: float) -> dict[str, int]:
    """Weights to keep in each layer by `rule` (one of :data:`RULES`); they sum to round(density * all weights)."""
    choose("rule", rule, RULES)
    within("density", density, 0, 1, low_open=True)
    n = sizes(shapes)
    kept = largest_remainder(RULES[rule](shapes, density) * n, round(density * n.sum()))
    return dict(zip(shapes, map(int, kept), strict=True))
