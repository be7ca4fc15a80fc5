"""Pictures that stay on disk until they are needed: data sets that do not fit into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from replib.spec import ReplibError


class Pictures:
    """What a uint8 tensor (N, 3, side, side) of the pictures in `paths` would be, decoded where it is indexed by a tensor or split.

    Every picture is resized until its shorter edge has `resize` pixels and the central square of `side` pixels is taken (256 and 224 in
    the papers' test transform). A slice gives fewer pictures and decodes none. Decoding takes one thread a processor.
    """

    def __init__(self, paths: Sequence[Path], side: int, resize: int) -> None:
        self.paths, self.side, self.resize = tuple(paths), side, resize

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, side, side)."""
        return (len(self), 3, self.side, self.side)

    def is_floating_point(self) -> bool:
        """False: pixels are uint8."""
        return False

    def __getitem__(self, index: Tensor | slice) -> Pictures | Tensor:
        if isinstance(index, slice):
            return Pictures(self.paths[index], self.side, self.resize)
        return self._decoded([self.paths[i] for i in index.tolist()])

    def split(self, size: int) -> Iterator[Tensor]:
        """All pictures in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self._decoded(self.paths[start : start + size])

    def loaded(self) -> Tensor:
        """All pictures at once."""
        return self._decoded(self.paths)

    def _decoded(self, paths: Sequence[Path]) -> Tensor:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) as pool:
            return torch.stack(list(pool.map(self._decode, paths)))

    def _decode(self, path: Path) -> Tensor:
        from PIL import Image
        from torchvision.transforms import functional as tv

        try:
            with Image.open(path) as picture:
                square = tv.center_crop(tv.resize(picture.convert("RGB"), self.resize), self.side)
        except (OSError, ValueError) as e:
            raise ReplibError(f"{path} is damaged ({e}). Unpack the archive that it comes from anew.") from e
        return torch.from_numpy(np.array(square)).permute(2, 0, 1)
