"""How similar the masks of two runs are at every pair of their epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from replib.sparsity.masks import chance_similarity
from replib.spec import Job, Pinned, ReplibError, Task, unpinned, within
from replib.store import Store
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.spec import Train

CHUNK = 1 << 16  # bytes of packed masks multiplied at a time: 100 epochs of ResNet-18 would fill 4 GiB as floats


def packed_similarity(a: np.ndarray, b: np.ndarray, total: int) -> np.ndarray:
    """1 - Hamming distance / `total` of each pair of rows, float64 (rows of a, rows of b), in [0, 1].

    `a`, `b`: uint8, one bit-packed mask of `total` weights a row; bits that only pad must be zero in both.
    """
    if a.shape[1] != b.shape[1]:
        raise ReplibError(f"Masks of {a.shape[1]} and {b.shape[1]} bytes cannot be compared; take both from the same network.")
    both = np.zeros((len(a), len(b)))
    kept_a, kept_b = np.zeros(len(a)), np.zeros(len(b))
    for start in range(0, a.shape[1], CHUNK):
        # Sums of at most 2^19 ones are exact in float32.
        rows, columns = (np.unpackbits(m[:, start : start + CHUNK], axis=1).astype(np.float32) for m in (a, b))
        both += rows @ columns.T
        kept_a, kept_b = kept_a + rows.sum(1), kept_b + columns.sum(1)
    return 1 - (kept_a[:, None] + kept_b[None] - 2 * both) / total


@dataclass(frozen=True)
class Similarity(Job):
    """Hamming similarity of the largest weights of run `a` and of run `b`, at all pairs of their first `epochs` epochs.

    Both runs must retain "masks@<density>". Both start from the same weights, as all runs of one seed do.
    """

    kind: ClassVar[str] = "similarity"

    a: Train | Pinned
    b: Train | Pinned
    density: float
    epochs: int

    def check(self) -> None:
        within("Similarity.density", self.density, 0, 1, low_open=True, high_open=True)
        within("Similarity.epochs", self.epochs, 1)

    def label(self) -> str:
        names = [unpinned(run).label() for run in (self.a, self.b)]
        return f"masks of {' and '.join(names)} at {100 * (1 - self.density):g} %"


def _retained(store: Store, task: Task, density: float, epochs: int) -> np.ndarray:
    name = f"retained/masks@{density:g}"
    arrays: Mapping[str, Any] = store.arrays(task)
    if name not in arrays:
        raise ReplibError(f"{task} kept no masks at density {density:g}; add 'masks@{density:g}' to its Train.retain.")
    if len(arrays[name]) < epochs:
        raise ReplibError(f"{task} has {len(arrays[name])} epochs, not {epochs}; compare fewer epochs or train it longer.")
    return arrays[name][:epochs]


def run_similarity(job: Similarity, context: Context) -> Output:
    """The matrix as float32 (epochs of a, epochs of b), its diagonal's mean, and the similarity of independent masks."""
    a, b = context.parent(job.a), context.parent(job.b)
    total = sum(context.store.results(a)["layers"].values())
    first, second = (_retained(context.store, t, job.density, job.epochs) for t in (a, b))
    matrix = packed_similarity(first, second, total)
    kept = round(job.density * total) / total
    results = {
        "chance": chance_similarity(kept, kept),
        "equal_epochs": float(np.diag(matrix).mean()),
        "first": float(matrix[0, 0]),
        "last": float(matrix[-1, -1]),
        "weights": total,
    }
    return Output(results=results, arrays={"similarity": matrix.astype(np.float32)})
