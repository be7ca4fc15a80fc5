"""The choice of a data set. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from replib.data.roles import ROLES, Augmentation, Role
from replib.spec import Spec, choose, within


@dataclass(frozen=True)
class Data(Spec):
    """A data set, possibly cut to fewer pictures.

    `n_train`, `n_val`, `n_test` cut the fixed splits of the role to class-balanced subsets; None keeps all. Subsets are
    nested: the pictures of a smaller one are among those of a larger one. `subset` "first" takes the first training
    pictures of the split instead, whatever their classes. `height` resamples the pictures to so many
    rows, keeping the aspect ratio (a net trained on 14×14 pictures wants its downstream pictures at that height too);
    None keeps the role's size. `augment` "resized" flips and cuts out random parts, as paper C does to every set.
    """

    name: str
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    augment: Literal["paper", "none", "resized"] = "paper"
    height: int | None = None
    subset: Literal["balanced", "first"] = "balanced"

    def check(self) -> None:
        choose("Data.name", self.name, ROLES)
        for field in ("n_train", "n_val", "n_test"):
            if (value := getattr(self, field)) is not None:
                within(f"Data.{field} (of {self.name!r})", value, 1, getattr(self.role, field))
        if self.height is not None:
            within("Data.height", self.height, 4, 1024)

    @property
    def role(self) -> Role:
        """The entry of the table of data sets."""
        return ROLES[self.name]

    def images(self, part: str) -> int:
        """How many images "train", "val" or "test" have."""
        return getattr(self, f"n_{part}") or getattr(self.role, f"n_{part}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the loaded pictures."""
        c, h, w = self.role.shape
        return (c, h, w) if self.height is None else (c, self.height, round(w * self.height / h))

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training pictures. The padding grows with `height`."""
        rules = Augmentation(area=0.08, flip=True) if self.augment == "resized" else self.role.augmentation
        if self.augment == "none":
            return Augmentation()
        if rules.area < 1:
            return replace(rules, side=self.shape[1])
        if self.height is None:
            return rules
        return Augmentation(round(rules.pad * self.height / self.role.shape[1]), rules.flip, rules.rotation)
