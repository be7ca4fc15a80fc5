"""PASCAL VOC 2012 for instance segmentation, in the official layout. Needs the files; nothing stands in for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from replib.spec import ReplibError

ADDRESS = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
VOID = 255
"""Value of the pixels around objects, which belong to none."""


class Instances(Dataset):
    """Pictures of one `part` ("train", "val") of ``VOCdevkit/VOC2012`` below `root`, with their objects.

    An item is (picture float (3, H, W) in [0, 1], target) as torchvision's detection networks take it: boxes float (n, 4) as left, top,
    right, bottom, labels int64 (n,) from 1 to 20, masks uint8 (n, H, W). Pictures without an object of at least two by two pixels are
    left out. Raises :class:`~replib.spec.ReplibError` if the files are not there.
    """

    def __init__(self, root: Path, part: str) -> None:
        self.folder = root / "VOCdevkit" / "VOC2012"
        listed = self.folder / "ImageSets" / "Segmentation" / f"{part}.txt"
        if not listed.is_file():
            raise ReplibError(
                f"There is no {listed}. Fetch {ADDRESS} (2 GB, md5 6cd6e144f989b92b3379bac3b3de84fd) and unpack it into {root}."
            )
        self.names = [name for name in listed.read_text().split() if len(self.objects(name)["labels"])]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[Tensor, dict[str, Tensor]]:
        pixels = torch.from_numpy(self._image("JPEGImages", f"{self.names[i]}.jpg", "RGB"))
        return pixels.permute(2, 0, 1).float() / 255, self.objects(self.names[i])

    def objects(self, name: str) -> dict[str, Tensor]:
        """Boxes, labels and masks of the objects of a picture, by the number that the object's pixels have."""
        from torchvision.ops import masks_to_boxes

        instances, classes = (torch.from_numpy(self._image(f"Segmentation{kind}", f"{name}.png")) for kind in ("Object", "Class"))
        numbers = [n for n in instances.unique().tolist() if n not in (0, VOID)]
        masks = torch.stack([instances == n for n in numbers]) if numbers else torch.zeros(0, *instances.shape, dtype=torch.bool)
        boxes = masks_to_boxes(masks)
        boxes[:, 2:] += 1  # the edge behind the last pixel
        labels = torch.tensor([int(classes[m].mode().values) for m in masks], dtype=torch.int64)
        large = (boxes[:, 2:] - boxes[:, :2]).amin(1) >= 2 if numbers else torch.zeros(0, dtype=torch.bool)
        return {"boxes": boxes[large], "labels": labels[large], "masks": masks[large].to(torch.uint8)}

    def _image(self, folder: str, file: str, mode: str = "") -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(self.folder / folder / file) as picture:
                return np.array(picture.convert(mode) if mode else picture)
        except (OSError, ValueError) as e:
            raise ReplibError(f"{self.folder / folder / file} is damaged or missing ({e}). Unpack {ADDRESS} anew.") from e
