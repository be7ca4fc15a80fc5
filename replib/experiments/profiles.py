"""Profiles: what the papers' words mean at a scale. Exhibits are written once, in the papers' words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from replib.attacks import FGSM, PGD
from replib.data import Data
from replib.models import Net
from replib.spec import ReplibError, SpecError, choose
from replib.training import PGDAT, SGD, CrossEntropy, Cyclic, FastAT, Steps, Train


@dataclass(frozen=True)
class Recipe:
    """How one (data set, architecture) of the papers is trained and evaluated at a scale."""

    data: Data
    net: Net
    eps: float
    epochs: int
    batch: int
    weight_decay: float
    lr: float = 0.1
    train_steps: int = 10
    train_step: float = 0.25
    val_steps: int = 20
    val_step: float = 0.25
    test_steps: int = 20
    precision: str = "fp32"
    search_share: float = 0.25
    """Length of Robust Bird's search at most: 50 of 200 epochs, what the printed FLOPs of A imply."""
    search_tau: float = 0.1
    search_relative: bool = False

    def attack(self, **changes: object) -> PGD:
        """The training attack."""
        return PGD(**({"eps": self.eps, "steps": self.train_steps, "step": self.train_step} | changes))

    def test_attack(self) -> PGD:
        """PGD-20 at step ε/4: what every table reports."""
        return PGD(eps=self.eps, steps=self.test_steps)

    def pgd_at(self, **changes: object) -> Train:
        """PGD adversarial training, the baseline of A; `changes` replace fields of :class:`Train`."""
        return replace(
            Train(
                data=self.data,
                net=self.net,
                loss=PGDAT(self.attack()),
                epochs=self.epochs,
                batch=self.batch,
                validate=PGD(eps=self.eps, steps=self.val_steps, step=self.val_step),
                optim=SGD(lr=self.lr, weight_decay=self.weight_decay),
                precision=self.precision,
            ),
            **changes,
        )

    def standard(self, **changes: object) -> Train:
        """Standard training with the drops of A's ticket search (one quarter and three quarters of the run)."""
        return self.pgd_at(**({"loss": CrossEntropy(), "schedule": Steps((0.25, 0.75))} | changes))

    def fast_at(self, *, guard: bool = False, peak: float = 0.4, **changes: object) -> Train:
        """Fast adversarial training with its cyclic schedule, whose peak is twice the base rate (0.2 in A)."""
        optim = SGD(lr=2 * self.lr, weight_decay=self.weight_decay)
        return self.pgd_at(**({"loss": FastAT(FGSM(eps=self.eps), guard), "schedule": Cyclic(peak), "optim": optim} | changes))


@dataclass(frozen=True)
class Profile:
    """A scale. `flagship` and `ordering` are the numbers of seeds declared before any evidence was made."""

    name: str
    purpose: str
    recipes: Mapping[tuple[str, str], Recipe]
    flagship: int
    ordering: int
    scope: str  # of claims: what a result at this scale can be
    watermark: str = ""  # why its numbers are neither judged nor published
    tiny: bool = False  # only the machinery is tested: grids and networks are as small as they get
    changes: tuple[tuple[str, float], ...] = ()  # to every recipe; see changed()
    map_epochs: float = 0.5  # length of the mask-similarity runs as a share of training (100 of 200 epochs in A)

    @property
    def label(self) -> str:
        """The name, with what was changed: "laptop", "laptop-epochs=5"."""
        return "-".join((self.name, *(f"{name}={value}" for name, value in self.changes)))

    def recipe(self, dataset: str, architecture: str) -> Recipe:
        """The recipe of a data set and architecture in the papers' words."""
        if (dataset, architecture) not in self.recipes:
            raise ReplibError(
                f"The profile {self.name!r} does not say yet what ({dataset}, {architecture}) is; it knows "
                f"{', '.join(' with '.join(k) for k in self.recipes)}. Add a Recipe in replib/experiments/profiles.py."
            )
        return self.recipes[dataset, architecture]


_CIFAR10 = ("CIFAR-10", "ResNet-18")

LAPTOP = Profile(
    name="laptop",
    purpose="embedded stand-ins; what a newcomer runs",
    recipes={
        _CIFAR10: Recipe(
            # Departs: no random crop. A shift by one pixel of 8x8 pictures hides the overfitting that the papers are about (calibration).
            # Departs: PGD-5 with steps of ε/2 in training and validation, to fit a laptop; tables are evaluated with PGD-20.
            # Departs: weight decay 1e-2 and batches of 32. With the paper's 5e-4 so short a run's magnitudes still show the initialization.
            # Departs: Robust Bird's threshold is 0.2 of the distance of independent masks, and its search takes up to 0.4 of a run. With
            # 13 steps an epoch all distances lie below the paper's 0.1, and a quarter of the run leaves three epochs to decide in.
            Data("digits", augment="none"), Net("preact_resnet_small"), eps=0.2, epochs=30, batch=32, weight_decay=1e-2, train_steps=5,
            train_step=0.5, val_steps=5, val_step=0.5, search_share=0.4, search_tau=0.2, search_relative=True,
        ),
    },
    flagship=20,
    ordering=5,
    scope="stand-in",
)  # fmt: skip

SMOKE = Profile(
    name="smoke",
    purpose="a few batches, for tests; its numbers mean nothing",
    recipes={
        _CIFAR10: Recipe(
            Data("digits", n_train=60, n_val=30, n_test=50), Net("preact_resnet_small", width=4), eps=0.2, epochs=4, batch=30,
            weight_decay=2e-2, train_steps=2, train_step=0.5, val_steps=2, val_step=0.5, test_steps=3,
        ),
    },
    flagship=1,
    ordering=1,
    scope="stand-in",
    watermark="smoke profile: these numbers mean nothing",
    tiny=True,
)  # fmt: skip

WORKSTATION = Profile(
    name="workstation",
    purpose="real images, shortened schedules; one GPU for hours, or a CPU overnight",
    recipes={
        _CIFAR10: Recipe(
            Data("cifar10"), Net("preact_resnet18"), eps=8 / 255, epochs=30, batch=128, weight_decay=5e-4, val_steps=10, precision="bf16",
        ),
    },
    flagship=3,
    ordering=3,
    scope="same data reduced",
)  # fmt: skip

PAPER = Profile(
    name="paper",
    purpose="exact settings of the papers",
    recipes={
        _CIFAR10: Recipe(Data("cifar10"), Net("preact_resnet18"), eps=8 / 255, epochs=200, batch=128, weight_decay=5e-4),
    },
    flagship=3,
    ordering=3,
    scope="paper scale",
)

PROFILES = {p.name: p for p in (SMOKE, LAPTOP, WORKSTATION, PAPER)}


def changed(p: Profile, changes: Mapping[str, float]) -> Profile:
    """`p` with fields of every recipe changed, such as ``{"epochs": 5, "eps": 0.1}``. What it gives is neither judged nor published.

    Raises :class:`~replib.spec.SpecError` for a name that no recipe has and for a value of another type; impossible values are refused
    by the jobs that they reach.
    """
    if not changes:
        return p
    known = {
        f.name: {"int": int, "float": float, "bool": bool, "str": str}[f.type] for f in fields(Recipe) if f.name not in ("data", "net")
    }
    for name, value in changes.items():
        wanted = known[choose("changes", name, known)]
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise SpecError(f"changes: {name} = {value!r} has the wrong type; give a value of type {wanted.__name__}.")
    words = ", ".join(f"{name} = {value}" for name, value in changes.items())
    recipes = {where: replace(r, **changes) for where, r in p.recipes.items()}
    return replace(p, recipes=recipes, watermark=f"{p.name} profile with {words}", changes=(*p.changes, *changes.items()))


def profile(name: str) -> Profile:
    """The profile called `name`."""
    return PROFILES[choose("profile", name, PROFILES)]
