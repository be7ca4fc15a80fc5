"""Load a data set as uint8 tensors with fixed splits."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from replib.data.listings import LISTINGS, listing
from replib.data.pictures import Pictures
from replib.data.real import READERS
from replib.data.roles import Augmentation
from replib.data.spec import Data
from replib.data.splits import balanced, centre, resize
from replib.data.stand_ins import STAND_INS
from replib.data.status import data_root, require
from replib.spec import ReplibError

PARTS = ("train", "val", "test")
LARGER = 256 / 224
"""Pictures that are trained on in parts are this much larger for evaluation, of which the middle is looked at."""


@dataclass(frozen=True)
class Images:
    """`x`: uint8 (N, C, H, W), 0 to 255, in memory or on disk. `y`: int64 (N,), the class of each picture."""

    x: Tensor | Pictures
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Split:
    """A loaded data set. The tensors are shared by all callers in a process: do not write to them.

    `source` (int64, one per test picture, on the CPU): test pictures with the same number share a source picture and
    are resampled together; different numbers share none. `mean` and `std` (one per channel, of pixels in [0, 1]) are
    for the first layer of a net.
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


def load(data: Data, root: str | Path | None = None, device: str | torch.device = "cpu") -> Split:
    """The splits of `data` on `device`, cached per process.

    `root` is the folder of the real data sets (default: REPLIB_DATA, else ``~/.cache/replib``); the stand-ins read
    nothing there. Raises :class:`~replib.spec.ReplibError`, which says what to fetch, if real data are missing or
    damaged.
    """
    if data.role.embedded:
        return _load(data, None, str(device))
    return _load(data, data_root(root), str(device))


@functools.lru_cache(maxsize=16)
def _load(data: Data, root: Path | None, device: str) -> Split:
    if root is not None and data.name in LISTINGS:
        return _on_disk(data, root, device)
    raw = STAND_INS[data.name]() if root is None else READERS[data.name](root)
    keep = {part: _keep(getattr(raw, part)[1], part, data) for part in PARTS}

    def images(part: str) -> Images:
        x, y = getattr(raw, part)
        height, width = data.shape[1:]
        if part != "train" and data.augmentation.area < 1:  # training looks at parts of pictures, evaluation at their middle
            x = centre(resize(x[keep[part]], round(height * LARGER), round(width * LARGER)), height, width)
        else:
            x = resize(x[keep[part]], height, width)
        x = np.ascontiguousarray(x)
        return Images(torch.from_numpy(x).to(device), torch.from_numpy(y[keep[part]]).to(device))

    return Split(
        *map(images, PARTS),
        classes=data.role.classes,
        mean=data.role.mean,
        std=data.role.std,
        shape=data.shape,
        source=torch.from_numpy(raw.source[keep["test"]]),
        augmentation=data.augmentation,
    )


def _on_disk(data: Data, root: Path, device: str) -> Split:
    """The splits of a data set whose pictures are decoded when they are used; classes are on `device`."""
    require(data.name, root)
    found, side = listing(data.name, root), data.shape[1]
    larger = round(side * LARGER)

    def images(part: str) -> Images:
        y = np.array([c for _, c in found[part]])
        keep = _keep(y, part, data)
        paths = [found[part][i][0] for i in keep]
        cut_later = part == "train" and data.augmentation.area < 1
        return Images(Pictures(paths, larger if cut_later else side, larger), torch.from_numpy(y[keep]).to(device))

    parts = [images(part) for part in PARTS]
    return Split(
        *parts,
        classes=data.role.classes,
        mean=data.role.mean,
        std=data.role.std,
        shape=data.shape,
        source=torch.arange(len(parts[2])),
        augmentation=data.augmentation,
    )


def _keep(y: np.ndarray, part: str, data: Data) -> np.ndarray:
    n = getattr(data, f"n_{part}")
    if n is not None and n > len(y):
        raise ReplibError(f"Data.n_{part} = {n}, but the files of {data.name!r} have {len(y)} such pictures. Ask for at most that.")
    if part == "train" and data.subset == "first":
        return np.arange(len(y) if n is None else n)
    return balanced(y, n, data.role.classes)


def fingerprint(split: Split) -> str:
    """Sixteen hexadecimal digits that name the pixels, classes and sources of `split`, whatever their files."""
    digest = hashlib.sha256()
    for part in PARTS:
        images = getattr(split, part)
        for tensor in (images.x, images.y):
            digest.update(repr(tuple(tensor.shape)).encode() + tensor.cpu().contiguous().numpy().tobytes())
    digest.update(split.source.numpy().tobytes())
    return digest.hexdigest()[:16]
