"""Statistics of the claims: replicates of a table's cells, corrected intervals, adjusted probabilities.

Everything is paired: one draw of seeds serves all cells, one draw of test images serves all cells of a data set, and
labels are permuted within a seed for all measures of a method at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats has these too, and takes a second to import

from replib.claims.conditions import ROUNDING
from replib.claims.table import CONTEXT, Cell, Sample
from replib.spec import SpecError

Fetch = Callable[[Cell], np.ndarray]

# How measures follow from accuracies on the same test images: metric -> ((accuracy, coefficient), ...). The gap is
# train minus test accuracy; only its test part varies with the test images.
FROM_ACCURACIES = {
    "robust_accuracy_diff": (("robust_accuracy_best", 1.0), ("robust_accuracy_final", -1.0)),
    "standard_accuracy_diff": (("standard_accuracy_best", 1.0), ("standard_accuracy_final", -1.0)),
    "robust_generalization_gap": (("robust_accuracy_final", -1.0),),
}


def means(sample: Sample, seeds: Sequence[int] | None = None, replicates: int = 1) -> Fetch:
    """Means over `seeds` (positions; all by default) of each cell, repeated."""
    chosen = list(range(max(1, len(sample.seeds)))) if seeds is None else list(seeds)

    def fetch(cell: Cell) -> np.ndarray:
        value = np.nanmean(sample.values[cell][chosen])
        return np.broadcast_to(value, (replicates,))

    return fetch


def spreads(sample: Sample, seeds: Sequence[int]) -> Callable[[Cell], float]:
    """Standard deviation over `seeds` of each cell; 0 for one seed and for constants."""

    def spread(cell: Cell) -> float:
        if len(seeds) < 2 or cell in sample.constants:
            return 0.0
        return float(np.std(sample.values[cell][list(seeds)], ddof=1))

    return spread


def bootstrap(
    sample: Sample,
    seeds: Sequence[int],
    rng: np.random.Generator,
    replicates: int,
    images: Mapping[Cell, np.ndarray] | None = None,
    clusters: Mapping[str, np.ndarray] | None = None,
) -> Fetch:
    """Replicates of each cell with seeds drawn with replacement and, where per-image results are known, test images
    too.

    `images[cell]` is (seeds of the sample, N) booleans, `clusters[dataset]` the source of each image, of which dear
    attacks take the first N: whole sources are drawn.
    """
    seeds = list(seeds)
    weight = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=replicates) / len(seeds)
    light = weight.astype(np.float32)
    image_rng = np.random.default_rng(rng.integers(2**63))  # a stream of its own: seeds are drawn alike with and without images
    draws: dict[tuple[str, int], np.ndarray] = {}
    noise: dict[Cell, np.ndarray] = {}

    def image_weight(cell: Cell, n: int) -> np.ndarray:
        place = (cell.dataset, n)
        if place not in draws:
            group = np.arange(n) if not clusters or cell.dataset not in clusters else np.asarray(clusters[cell.dataset])[:n]
            if len(group) != n:
                raise SpecError(f"clusters of {cell.dataset} name {len(group)} images, not the {n} tested; give one each.")
            _, group = np.unique(group, return_inverse=True)
            count = int(group.max()) + 1
            drawn = image_rng.multinomial(count, np.full(count, 1 / count), size=replicates)[:, group].astype(np.float32)
            draws[place] = drawn / drawn.sum(axis=1, keepdims=True)
        return draws[place]

    def image_noise(cell: Cell) -> np.ndarray | float:
        if not images or cell not in images:
            return 0.0
        if cell not in noise:
            correct = np.asarray(images[cell])
            if correct.shape[0] != len(sample.seeds):
                raise SpecError(
                    f"images of {cell.words()} hold {correct.shape[0]} seeds, the results {len(sample.seeds)}; "
                    "give one row per seed, sorted."
                )
            right = correct[seeds].astype(np.float32)
            resampled = image_weight(cell, correct.shape[1]) @ right.T  # share of right images, by replicate and seed
            noise[cell] = 100 * (light * (resampled - right.mean(axis=1))).sum(axis=1)
        return noise[cell]

    def fetch(cell: Cell) -> np.ndarray:
        parts = FROM_ACCURACIES.get(cell.metric, ((cell.metric, 1.0),))
        value = weight @ sample.values[cell][seeds]
        return value + sum(factor * image_noise(cell._replace(metric=metric)) for metric, factor in parts)

    return fetch


def permuted(sample: Sample, cells: Iterable[Cell], seeds: Sequence[int], rng: np.random.Generator, replicates: int) -> Fetch:
    """Means over seeds after the labels of the rows have been permuted within each seed.

    Rows are exchanged within data set and architecture; a row is a setting with its sparsity and variant. Attack,
    downstream training and the like are conditions: one permutation serves all of them, as it serves all measures of
    a row. A row printed in several exhibits is one row where its numbers agree; where they differ, the exhibit is a
    condition too.
    """
    seeds = list(seeds)
    blocks: dict[tuple, dict[tuple, dict[tuple, list[Cell]]]] = {}
    for c in cells:
        context = tuple(p for p in c.variant if p[0] in CONTEXT)
        row = (c.setting, c.sparsity, tuple(p for p in c.variant if p[0] not in CONTEXT))
        column = blocks.setdefault((c.dataset, c.architecture), {}).setdefault((context, c.metric), {})
        column.setdefault(row, []).append(c)
    result: dict[Cell, np.ndarray] = {}
    for block in blocks.values():
        columns = [part for column in block.values() for part in _split(sample, column)]
        rows = list(dict.fromkeys(r for column in columns for r in column))
        order = rng.random((replicates, len(seeds), len(rows)), dtype=np.float32)
        for column in columns:
            here = [i for i, r in enumerate(rows) if r in column]
            ranks = np.argsort(order[:, :, here], axis=2)
            values = np.stack([sample.values[column[rows[i]][0]][seeds] for i in here], axis=1)  # (seeds, rows)
            mixed = values[np.arange(len(seeds))[None, :, None], ranks].mean(axis=1)
            for j, i in enumerate(here):
                result.update(dict.fromkeys(column[rows[i]], mixed[:, j]))
    return lambda cell: result[cell]


def _split(sample: Sample, column: dict[tuple, list[Cell]]) -> list[dict[tuple, list[Cell]]]:
    """One column, or one per exhibit where a row has different numbers in two exhibits."""
    values = sample.values
    if all(np.array_equal(values[c], values[same[0]], equal_nan=True) for same in column.values() for c in same):
        return [column]
    parts: dict[str, dict[tuple, list[Cell]]] = {}
    for row, same in column.items():
        for c in same:
            parts.setdefault(c.exhibit, {}).setdefault(row, []).append(c)
    return list(parts.values())


def widening(n: int, level: float = 0.95) -> float:
    """Factor by which deviations of a bootstrap over `n` units are stretched so that a percentile interval of a mean
    has about the coverage of Student's: sqrt(n / (n - 1)) t / z (the expanded percentile interval of Hesterberg,
    American Statistician 2015)."""
    tail = 0.5 + level / 2
    return float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, tail) / ndtri(tail))


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of (replicates,) values."""
    low, high = np.quantile(replicates, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def one_sided(point: float, replicates: np.ndarray, n: int, *, strict: bool = True) -> float:
    """Probability, if the true slack were at the bound, of a slack as positive as this.

    `replicates` are widened ones (:func:`widening`). The share of them at or below 0 (below it unless `strict`, but
    for rounding noise), or where none is there the distance of `point` from 0 in their deviations, is turned into a normal
    deviate and this into Student's tail: at 2.5 % that is the share itself, and farther out, where corrections for
    multiplicity look, five seeds do not count as certain as a normal tail would have them.
    """
    share = float(np.mean(replicates <= 0 if strict else replicates < -ROUNDING))
    error = float(np.std(replicates))
    if n < 2 or error == 0:
        return share
    deviate = -ndtri(share) if share > 0 else point / error
    return float(stdtr(n - 1, -deviate * stdtrit(n - 1, 0.975) / ndtri(0.975)))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted probabilities, in the order given (Holm, Scandinavian Journal of Statistics 1979)."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = running
    return adjusted.tolist()
