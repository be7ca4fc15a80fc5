"""Fixed splits, balanced subsets and resampling of pictures, in NumPy.

Every split is drawn once, from a seed of its own that no run can change: all seeds of all methods see one test set.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field

import numpy as np

BLOCK = 256
"""Pictures that are resampled at a time."""
Part = tuple[np.ndarray, np.ndarray]  # pictures uint8 (N, C, H, W) and their classes int64 (N,)


@dataclass(frozen=True)
class Raw:
    """A whole data set in NumPy. `source` (n_test,): test pictures with equal numbers share a source picture.

    `members` (composites and other stand-ins): for each part (N, k), the pictures of the pool that each picture is made
    of.
    """

    train: Part
    val: Part
    test: Part
    source: np.ndarray
    members: dict[str, np.ndarray] = field(default_factory=dict)


def fixed_random(purpose: str) -> np.random.RandomState:
    """The generator of one fixed choice. RandomState, because NumPy promises that its stream never changes (NEP 19)."""
    return np.random.RandomState(int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big"))


def stratified(y: np.ndarray, sizes: tuple[int, ...], purpose: str) -> list[np.ndarray]:
    """Index arrays of the given sizes with equally many pictures of each class, and one more with all the others.

    `sizes` must be multiples of the number of classes, and every class must have enough pictures.
    """
    random = fixed_random(purpose)
    classes = int(y.max()) + 1
    order = [random.permutation(np.flatnonzero(y == c)) for c in range(classes)]
    cuts = np.cumsum([0, *(n // classes for n in sizes)])
    if any(n % classes for n in sizes) or min(map(len, order)) < cuts[-1]:
        raise ValueError(f"no split of sizes {sizes} into {classes} classes with {min(map(len, order))} or more pictures")
    bounds = [*itertools.pairwise(cuts), (cuts[-1], None)]
    return [random.permutation(np.concatenate([o[a:b] for o in order])) for a, b in bounds]


def balanced(y: np.ndarray, n: int | None, classes: int) -> np.ndarray:
    """Ascending indices of `n` items (None: of all), the first ones of each class, so that class counts differ by one
    at most.

    A class that has too few pictures gives all that it has and the others fill up. Subsets are nested in n.
    """
    if n is None:
        return np.arange(len(y))
    rank = np.empty(len(y), np.int64)
    for c in range(classes):
        where = np.flatnonzero(y == c)
        rank[where] = np.arange(len(where))
    return np.sort(np.argsort(rank, kind="stable")[:n])


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures uint8 (N, C, H, W) at another size, uint8: means over areas when shrinking, bilinear when growing."""
    if x.shape[2:] == (height, width):
        return x
    rows, columns = _resampling(x.shape[2], height), _resampling(x.shape[3], width)
    out = np.empty((*x.shape[:2], height, width), np.uint8)
    for start in range(0, len(x), BLOCK):  # in float64 the whole of CIFAR-10 at 224 pixels would be 54 GB
        part = slice(start, start + BLOCK)
        mixed = np.einsum("ih,nchw,jw->ncij", rows, x[part].astype(np.float64), columns, optimize=True)
        # the last bit of a float64 sum depends on the machine's order of summation; nine decimals keep ties at .5 the same
        # everywhere
        out[part] = np.rint(mixed.round(9))
    return out


def centre(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of pictures (N, C, H, W), of so many rows and columns."""
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


def _resampling(old: int, new: int) -> np.ndarray:
    """(new, old) matrix with rows that sum to one: overlaps when shrinking, linear interpolation when growing."""
    centre = ((np.arange(new) + 0.5) * old / new)[:, None]
    edge = np.arange(old)
    if new <= old:
        half = old / new / 2
        weight = np.minimum(edge + 1, centre + half) - np.maximum(edge, centre - half)
    else:
        weight = 1 - np.abs(edge + 0.5 - centre.clip(0.5, old - 0.5))
    weight = weight.clip(min=0)
    return weight / weight.sum(1, keepdims=True)
