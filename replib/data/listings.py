"""Which picture files the parts of the large data sets are, in their official layouts. Nothing is decoded and torch is not imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from replib.spec import ReplibError

Listing = dict[str, list[tuple[Path, int]]]
"""Path and class of every picture of "train", "val" and "test", class by class in the order of file names."""


def imagenet(root: Path) -> Listing:
    """ImageNet (ILSVRC 2012): ``imagenet/train`` and ``imagenet/val`` with a folder of JPEG files for each of 1,000 classes.

    Departs: the last ten training pictures of each class are for validation, and the official validation set is the test set, for the
    official test set has no labels. The paper does not say on what it validates.
    """
    folder = root / "imagenet"
    classes = {d.name: c for c, d in enumerate(sorted(p for p in (folder / "train").iterdir() if p.is_dir()))}
    parts = {part: [(p, c) for name, c in classes.items() for p in sorted((folder / part / name).iterdir())] for part in ("train", "val")}
    return _held_out(parts["train"], 10) | {"test": parts["val"]}


def cub200(root: Path) -> Listing:
    """Caltech-UCSD Birds-200-2011: ``CUB_200_2011`` with images.txt, image_class_labels.txt and train_test_split.txt.

    Departs: the last three training pictures of each class are for validation; the paper gives no settings.
    """
    folder = root / "CUB_200_2011"
    columns = [_numbered(folder / name) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")]
    paths, labels, official = columns
    parts: dict[str, list[tuple[Path, int]]] = {"0": [], "1": []}
    for number in sorted(paths, key=lambda n: (int(labels[n]), paths[n])):
        parts[official[number]].append((folder / "images" / paths[number], int(labels[number]) - 1))
    return _held_out(parts["1"], 3) | {"test": parts["0"]}


def visda17(root: Path) -> Listing:
    """VisDA 2017, classification: ``visda17/train`` (renderings) and ``visda17/validation`` (photographs), each with image_list.txt.

    Departs: the paper gives no settings. Here renderings are trained and, the last hundred of each of the 12 classes, validated on; the
    photographs are the test set.
    """
    parts = {}
    for part in ("train", "validation"):
        folder = root / "visda17" / part
        rows = (line.rsplit(maxsplit=1) for line in (folder / "image_list.txt").read_text().splitlines() if line.strip())
        parts[part] = sorted(((folder / name, int(label)) for name, label in rows), key=lambda row: (row[1], row[0]))
    return _held_out(parts["train"], 100) | {"test": parts["validation"]}


def _numbered(path: Path) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())


def _held_out(pictures: Iterable[tuple[Path, int]], n: int) -> Listing:
    """The last `n` of each class for validation, the others to train on."""
    by_class: dict[int, list[tuple[Path, int]]] = {}
    for picture in pictures:
        by_class.setdefault(picture[1], []).append(picture)
    return {
        "train": [p for mine in by_class.values() for p in mine[:-n]],
        "val": [p for mine in by_class.values() for p in mine[-n:]],
    }


LISTINGS: dict[str, Callable[[Path], Listing]] = {f.__name__: f for f in (imagenet, cub200, visda17)}


def listing(name: str, root: Path) -> Listing:
    """The files of the data set `name` below `root`. Raises :class:`~replib.spec.ReplibError` if its layout is not the official one."""
    try:
        return LISTINGS[name](root)
    except (OSError, KeyError, ValueError) as e:
        raise ReplibError(f"The layout of {name!r} in {root} is not the official one ({e!r}). Unpack its archives anew.") from e
