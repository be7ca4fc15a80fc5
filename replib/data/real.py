"""Readers of the real data sets. Nothing is downloaded here; see :mod:`replib.data.status`.

CIFAR's official files are pickles. They are opened by torchvision, and only after their md5 matched the published one;
no other pickle is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from replib.data.splits import Part, Raw, stratified
from replib.data.status import TINY, remedy, require
from replib.spec import ReplibError


def _parts(x: np.ndarray, y: np.ndarray, cuts: tuple[np.ndarray, np.ndarray], test: Part) -> Raw:
    y = y.astype(np.int64)
    return Raw(*((x[i], y[i]) for i in cuts), test=(test[0], test[1].astype(np.int64)), source=np.arange(len(test[1])))


def _tail(total: int, n_val: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures in file order to train on, the last `n_val` for validation, as the released code of paper A
    does.
    """
    return np.arange(total - n_val), np.arange(total - n_val, total)


def _cifar(name: str, root: Path) -> Raw:
    require(name, root)
    from torchvision import datasets  # here, because it takes a second and the stand-ins do without

    cls = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    train, test = (cls(root, train=flag) for flag in (True, False))
    x = [np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)) for part in (train, test)]
    return _parts(x[0], np.array(train.targets), _tail(len(x[0]), 5000), (x[1], np.array(test.targets)))


def cifar10(root: Path) -> Raw:
    """45,000 / 5,000 / 10,000."""
    return _cifar("cifar10", root)


def cifar100(root: Path) -> Raw:
    """45,000 / 5,000 / 10,000."""
    return _cifar("cifar100", root)


def mnist(root: Path) -> Raw:
    """55,000 / 5,000 / 10,000. Departs: paper D trains on all 60,000; here the last 5,000 choose the checkpoint."""
    require("mnist", root)
    from torchvision.datasets import MNIST

    train, test = (MNIST(root, train=flag) for flag in (True, False))
    x = [part.data.numpy()[:, None] for part in (train, test)]
    return _parts(x[0], train.targets.numpy(), _tail(len(x[0]), 5000), (x[1], test.targets.numpy()))


def svhn(root: Path) -> Raw:
    """68,257 / 5,000 / 26,032; class 0 is the digit 0."""
    require("svhn", root)
    from torchvision.datasets import SVHN

    train, test = (SVHN(root, split=part) for part in ("train", "test"))
    return _parts(train.data, train.labels, _tail(len(train.data), 5000), (test.data, test.labels))


def cifar100_subset(root: Path) -> Raw:
    """18,000 / 2,000 / 5,000 of CIFAR-100 (200 and 50 pictures of a class), class by class, for the order is not the
    official one.
    """
    require("cifar100_subset", root)
    with np.load(root / "cifar100_subset.npz", allow_pickle=False) as file:
        x, y, x_test, y_test = (file[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    as_made = (x.shape, x_test.shape, x.dtype, x_test.dtype) == (
        (20000, 32, 32, 3),
        (5000, 32, 32, 3),
        np.uint8,
        np.uint8,
    )
    if not (as_made and np.array_equal(np.bincount(y), [200] * 100) and np.array_equal(np.bincount(y_test), [50] * 100)):
        raise ReplibError(f"{root / 'cifar100_subset.npz'} is not the expected cut. {remedy('cifar100_subset')}")
    x, x_test = (np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (x, x_test))
    train, val, _ = stratified(y, (18000, 2000), "cifar100 subset")
    return _parts(x, y, (train, val), (x_test, y_test))


def tiny_imagenet(root: Path) -> Raw:
    """90,000 / 10,000 / 10,000 at 64×64; the official validation pictures are the test set, for the official test set
    has no labels.

    The training folders are ordered by class, so the split is NumPy's permutation from seed 10, last 10,000 for
    validation, as in the released code of paper A.
    """
    require("tiny_imagenet", root)
    x, y, test = _tiny(root, 500, 50)
    order = np.random.RandomState(10).permutation(len(y))
    return _parts(x, y, (order[:90000], order[90000:]), test)


def tiny_imagenet_subset(root: Path) -> Raw:
    """7,200 / 800 / 2,000: the first 40 training and 10 validation files of each class that the folder has, split class
    by class.
    """
    require("tiny_imagenet_subset", root)
    x, y, test = _tiny(root, 40, 10)
    train, val, _ = stratified(y, (7200, 800), "tiny imagenet subset")
    return _parts(x, y, (train, val), test)


def _tiny(root: Path, n_train: int, n_test: int) -> tuple[np.ndarray, np.ndarray, Part]:
    """Training pictures and classes in the order of sorted folders and file names, and the test part. Grey pictures
    become RGB.
    """
    folder = root / TINY
    wnids = sorted((folder / "wnids.txt").read_text().split())
    train = [(p, c) for c, w in enumerate(wnids) for p in sorted((folder / "train" / w / "images").glob("*.JPEG"))[:n_train]]
    listed: dict[str, list[str]] = {w: [] for w in wnids}
    for line in (folder / "val" / "val_annotations.txt").read_text().splitlines():
        file, wnid = line.split("\t")[:2]
        listed[wnid].append(file)
    test = [(folder / "val" / "images" / f, c) for c, w in enumerate(wnids) for f in sorted(listed[w])[:n_test]]
    return _jpegs(train), np.array([c for _, c in train]), (_jpegs(test), np.array([c for _, c in test]))


def _jpegs(files: list[tuple[Path, int]]) -> np.ndarray:
    from PIL import Image

    out = np.empty((len(files), 3, 64, 64), np.uint8)
    for slot, (path, _) in zip(out, files, strict=True):
        try:
            with Image.open(path) as picture:
                slot[:] = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        except (OSError, ValueError) as error:
            raise ReplibError(f"{path} is damaged ({error}). Remove the folder {TINY} and fetch it anew.") from error
    return out


READERS: dict[str, Callable[[Path], Raw]] = {
    f.__name__: f for f in (cifar10, cifar100, cifar100_subset, tiny_imagenet, tiny_imagenet_subset, mnist, svhn)
}
