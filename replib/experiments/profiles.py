"""Profiles: what the papers' words mean at a scale. Exhibits are written once, in the papers' words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from replib.data import Data
from replib.experiments import foresight, transfer
from replib.experiments.foresight import Foresight
from replib.experiments.places import CIFAR10, CIFAR100, DENSE10, DENSE_TINY, TINY, UNSEEN10, UNSEEN100, VGG10, VGG100, WIDE
from replib.experiments.recipe import Recipe
from replib.experiments.transfer import Transfer
from replib.models import Net
from replib.spec import ReplibError, SpecError, choose


@dataclass(frozen=True)
class Pruning:
    """What B does otherwise than A, at a scale."""

    epochs: float = 1.2  # of a full run, as a multiple of the recipe's: 240 beside A's 200
    steps: int = 100  # of the PGD that tables are evaluated with
    patience: float = 10 / 240  # of Stop-C, as a share of a full run
    longest: float = 3.0  # of a run under Stop-C, in full runs, if its loss does not stall before
    distortion_images: int | None = None
    distortion_steps: int = 100
    penalty: float = 1.0  # on slimming's strength, so that a short run's scales shrink as far as a long one's
    penalties: Mapping[tuple[str, str], float] = field(default_factory=dict)  # and by place, where that is another factor
    tiny_lr: float = 0.1  # on the learning rate for Tiny-ImageNet
    tiny_stride: int = 1  # of the first convolution there
    longer: Mapping[tuple[str, str], float] = field(default_factory=dict)  # than `epochs`, by place, where less is not enough


@dataclass(frozen=True)
class Profile:
    """A scale. `flagship` and `ordering` are the numbers of seeds declared before any evidence was made; a claim that asks for more
    is decided with `flagship`."""

    name: str
    recipes: Mapping[tuple[str, str], Recipe]
    flagship: int
    ordering: int
    scope: str  # of claims: what a result at this scale can be
    watermark: str = ""  # why its numbers are neither judged nor published
    tiny: bool = False  # only the machinery is tested: grids and networks are as small as they get
    changes: tuple[tuple[str, float], ...] = ()  # to every recipe; see changed()
    map_epochs: float = 0.5  # length of the mask-similarity runs as a share of training (100 of 200 epochs in A)
    settings: tuple[str, ...] = ()  # of Table 1, where only some of them are run; empty: all
    attention: Recipe | None = None  # of CIFAR-10 for Figure 6, where its stand-in's maps are too small to look at
    pruning: Pruning = Pruning()
    foresight: Foresight = foresight.LAPTOP
    transfer: Transfer = transfer.LAPTOP
    ensemble: tuple[str, ...] = ()  # members of AutoAttack, where the whole of it is too dear
    ensemble_images: int | None = None  # and on so many images of each split

    @property
    def label(self) -> str:
        """The name, with what was changed: "laptop", "laptop-epochs=5"."""
        return "-".join((self.name, *(f"{name}={value}" for name, value in self.changes)))

    def everywhere(self) -> list[tuple[str, Recipe]]:
        """Every recipe of the four papers with the papers' name of its data set, those of transfer and of mask searches too."""
        placed = [*self.recipes.items(), *self.transfer.recipes.items(), *self.foresight.recipes.items()]
        return [(dataset, r) for (dataset, _), r in placed] + ([("CIFAR-10", self.attention)] if self.attention else [])

    def recipe(self, dataset: str, architecture: str) -> Recipe:
        """The recipe of a data set and architecture in the papers' words."""
        if (dataset, architecture) not in self.recipes:
            raise ReplibError(
                f"The profile {self.name!r} does not say yet what ({dataset}, {architecture}) is; it knows "
                f"{', '.join(' with '.join(k) for k in self.recipes)}. Add a Recipe in replib/experiments/profiles.py."
            )
        return self.recipes[dataset, architecture]


# Departs: no random crop. A shift by one pixel of 8x8 pictures hides the overfitting that the papers are about (calibration).
# Departs: PGD-3 with steps of 0.7 ε in training and validation, to fit a laptop; tables are evaluated with PGD-20, under which networks
# trained with PGD-3 come out as robust as with PGD-5 or PGD-10 (calibration).
# Departs: weight decay 1e-2 and batches of 32. With the paper's 5e-4 so short a run's magnitudes still show the initialization.
# Departs: Robust Bird's threshold is 0.2 of the distance of independent masks, and its search takes up to 0.4 of a run. With
# 13 steps an epoch all distances lie below the paper's 0.1, and a quarter of the run leaves three epochs to decide in.
_DIGITS = Recipe(
    Data("digits", augment="none"), Net("preact_resnet_small"), eps=0.2, epochs=24, batch=32, weight_decay=1e-2, train_steps=3,
    train_step=0.7, val_steps=3, val_step=0.7, search_share=0.4, search_tau=0.2, search_relative=True, free_replays=3,
)  # fmt: skip
# Departs: where few images make few steps an epoch, Robust Bird's search may take longer than the paper's quarter of a run: 0.6 of it with
# VGG, all of it (to the last epoch, whether its masks have settled or not) on the harder data.
# Departs: a quarter of the digits' radius, and a tenth for Tiny-ImageNet's 200 classes, for two digits in a picture. Networks of
# this size do not learn a hundred classes at more in so few epochs; there the dense network overfits and random pruning still learns,
# given about as many steps as the digits have, hence batches of 16 (calibration).
_HARDER = {"weight_decay": 5e-3, "search_share": 1.0}
_PAIRS = replace(
    _DIGITS, data=Data("digit_pairs", augment="none", n_train=500, n_test=400), net=Net("preact_resnet_small", width=20), eps=0.05,
    epochs=12, batch=16, **_HARDER,
)  # fmt: skip
# Departs: Flying Bird's interval is the same share of a run everywhere, on Tiny-ImageNet's stand-in too, where the paper's is half of it.
_FINE = replace(_DIGITS, data=Data("mnist_fine", augment="none", n_test=600), eps=0.02, epochs=14, batch=20, **_HARDER)
# Departs: half the learning rate for VGG and, on the digits, three quarters of the radius: its dense relative does not start to learn
# otherwise.
_VGG = replace(_DIGITS, net=Net("vgg_small"), eps=0.15, epochs=20, lr=0.05, weight_decay=5e-3, search_share=0.6)
# Departs: fifteen epochs, in batches of half the size, for the wide network, which takes four times as long.
_WIDER = replace(_DIGITS, net=Net("preact_resnet_small", width=32), epochs=15, batch=16, **_HARDER)
# Departs: the unseen model of the digits takes half the epochs; it is only attacked, and attacks others.
_BOTTLENECK = {"net": Net("bottleneck_small", stages=3)}

LAPTOP = Profile(
    name="laptop",
    recipes={
        CIFAR10: _DIGITS,
        CIFAR100: _PAIRS,
        TINY: _FINE,
        VGG10: _VGG,
        VGG100: replace(_PAIRS, net=Net("vgg_small", width=24), lr=0.05),
        WIDE: _WIDER,
        UNSEEN10: replace(_DIGITS, epochs=12, **_BOTTLENECK),
        UNSEEN100: replace(_PAIRS, **_BOTTLENECK),
        DENSE10: replace(_DIGITS, net=Net("densenet_small")),
        DENSE_TINY: replace(_FINE, net=Net("densenet_small"), weight_decay=1e-3),  # with more it hardly learns (calibration)
    },
    # Departs: B's full runs take the recipe's epochs, no fifth more, but for VGG-16 on a hundred classes, which has hardly learned by then
    # (calibration). Stop-C waits for an eighth of a full run, two or three epochs, where the paper's ten are a twenty-fourth. Its tables
    # are evaluated with PGD-20, its distortion search takes 200 images and PGD-20. Its networks for Tiny-ImageNet halve the pictures in
    # the first convolution, as many for ImageNet do, which costs a quarter and learns about as much (calibration). There the learning rate
    # is ten times the paper's, and slimming's strength a fraction of the others'.
    pruning=Pruning(
        epochs=1.0,
        steps=20,
        patience=1 / 8,
        distortion_images=200,
        distortion_steps=20,
        penalty=400.0,
        penalties={TINY: 10.0, DENSE_TINY: 30.0},
        tiny_lr=1.0,
        tiny_stride=2,
        longer={VGG100: 1.5},
    ),
    flagship=20,
    ordering=5,
    scope="stand-in",
    # Departs: ε is 0.15, not the digits' 0.2, and batches hold 25, so that few epochs of large pictures are enough steps: with 0.2, ten
    # epochs and batches of 50 the dense network hardly learned (calibration). Validation, 100 pictures, only drives Flying Bird+ here.
    attention=replace(_DIGITS, data=Data("mnist28", n_train=400, n_val=100, n_test=500), eps=0.15, epochs=15, batch=25, weight_decay=5e-3),
    # Departs: AutoAttack's two untargeted gradient attacks, on the first 200 images of each split: the whole takes many minutes a network.
    ensemble=("apgd-ce", "apgd-dlr"),
    ensemble_images=200,
)

_FEW = Recipe(
    Data("digits", n_train=60, n_val=30, n_test=50), Net("preact_resnet_small", width=4), eps=0.2, epochs=4, batch=30,
    weight_decay=2e-2, train_steps=2, train_step=0.5, val_steps=2, val_step=0.5, test_steps=3, free_replays=2,
)  # fmt: skip
_FEW_PAIRS = replace(_FEW, data=Data("digit_pairs", n_train=100, n_val=100, n_test=100), epochs=3, batch=50)
_FEW_FINE = replace(_FEW, data=Data("mnist_fine", n_train=200, n_val=200, n_test=200), epochs=2, batch=100)
_FEW_VGG = Net("vgg_small", width=4, blocks=1)
_FEW_DENSE = Net("densenet_small", width=4, stages=2)

SMOKE = Profile(
    name="smoke",
    recipes={
        CIFAR10: _FEW,
        CIFAR100: _FEW_PAIRS,
        TINY: _FEW_FINE,
        VGG10: replace(_FEW, net=_FEW_VGG, epochs=2),
        VGG100: replace(_FEW_PAIRS, net=_FEW_VGG),
        WIDE: replace(_FEW, net=Net("preact_resnet_small", width=6), epochs=2),
        UNSEEN10: replace(_FEW, net=Net("bottleneck_small", width=4, stages=2), epochs=2),
        UNSEEN100: replace(_FEW_PAIRS, net=Net("bottleneck_small", width=4, stages=2)),
        DENSE10: replace(_FEW, net=_FEW_DENSE, epochs=2),
        DENSE_TINY: replace(_FEW_FINE, net=_FEW_DENSE),
    },
    pruning=Pruning(epochs=1.0, steps=3, patience=0.5, longest=1.0, distortion_images=10, distortion_steps=3, penalty=400.0, tiny_lr=1.0),
    foresight=foresight.SMOKE,
    transfer=transfer.SMOKE,
    flagship=1,
    ordering=1,
    scope="stand-in",
    watermark="smoke profile: these numbers mean nothing",
    tiny=True,
    ensemble=("apgd-ce",),
    ensemble_images=10,
)

_PHOTOS = Recipe(Data("cifar10"), Net("preact_resnet18"), eps=8 / 255, epochs=200, batch=128, weight_decay=5e-4)
_LONG = {"iterations": 140_800}  # of a full run on Tiny-ImageNet, which has twice the images

# Departs: 1,000 training photographs at half resolution, a narrow network with one block a stage, PGD-3, thirty epochs: what a
# processor does in half an hour a seed for the nine rows of Table 1 that are run here. Robust Bird's search takes up to 0.8 of a run. The
# dense network hardly overfits there, with three times the pictures not at all (calibration). A GPU does the paper's own setting with
# -p paper.
_FEW_PHOTOS = {"n_train": 1000, "n_val": 500, "n_test": 1000}
_PART = replace(
    _PHOTOS, data=Data("cifar10", **_FEW_PHOTOS, height=16), net=Net("preact_resnet_small", width=24), epochs=30, batch=32,
    weight_decay=2e-3, train_steps=3, train_step=0.7, val_steps=3, val_step=0.7, search_share=0.8, search_tau=0.2, search_relative=True,
    free_replays=3,
)  # fmt: skip
_PART100 = replace(_PART, data=Data("cifar100", n_train=3000, n_val=500, n_test=1000, height=16), epochs=15)
_PART_TINY = replace(_PART, data=Data("tiny_imagenet", n_train=4000, n_val=600, n_test=1000, height=32), epochs=15, **_LONG)
_SMALL_VGG = {"net": Net("vgg_small"), "lr": 0.05}

WORKSTATION = Profile(
    name="workstation",
    recipes={
        CIFAR10: _PART,
        CIFAR100: _PART100,
        TINY: _PART_TINY,
        VGG10: replace(_PART, **_SMALL_VGG),
        VGG100: replace(_PART100, **_SMALL_VGG),
        WIDE: replace(_PART, net=Net("preact_resnet_small", width=32)),
        UNSEEN10: replace(_PART, **_BOTTLENECK),
        UNSEEN100: replace(_PART100, **_BOTTLENECK),
        DENSE10: replace(_PART, net=Net("densenet_small")),
        DENSE_TINY: replace(_PART_TINY, net=Net("densenet_small")),
    },
    pruning=Pruning(
        steps=20,
        patience=1 / 8,
        distortion_images=200,
        distortion_steps=20,
        penalty=40.0,
        penalties={TINY: 4.0, DENSE_TINY: 12.0},
        tiny_lr=1.0,
    ),
    foresight=foresight.WORKSTATION,
    transfer=transfer.WORKSTATION,
    flagship=3,
    ordering=3,
    scope="same data reduced",
    settings=("Random Pruning", "Robust Bird", "Flying Bird", "Flying Bird+"),
    attention=replace(_PART, data=Data("cifar10", **_FEW_PHOTOS)),
    ensemble_images=500,
)

_PHOTOS100 = replace(_PHOTOS, data=Data("cifar100"))

PAPER = Profile(
    name="paper",
    recipes={
        CIFAR10: _PHOTOS,
        CIFAR100: _PHOTOS100,
        TINY: replace(_PHOTOS, data=Data("tiny_imagenet"), **_LONG),
        VGG10: replace(_PHOTOS, net=Net("vgg16_bn")),
        VGG100: replace(_PHOTOS100, net=Net("vgg16_bn")),
        WIDE: replace(_PHOTOS, net=Net("wide_resnet34_10")),
        UNSEEN10: replace(_PHOTOS, net=Net("resnet50_cifar")),
        UNSEEN100: replace(_PHOTOS100, net=Net("resnet50_cifar")),
        DENSE10: replace(_PHOTOS, net=Net("densenet40")),
        DENSE_TINY: replace(_PHOTOS, data=Data("tiny_imagenet"), net=Net("densenet121"), batch=32),
    },
    foresight=foresight.PAPER,
    transfer=transfer.PAPER,
    flagship=3,
    ordering=3,
    scope="paper scale",
)

PROFILES = {p.name: p for p in (SMOKE, LAPTOP, WORKSTATION, PAPER)}


def changed(p: Profile, changes: Mapping[str, float]) -> Profile:
    """`p` with fields of every recipe changed, such as ``{"epochs": 5, "eps": 0.1}``. What it gives is neither judged nor published.

    Rounds of the third paper's pruning keep their own epochs, batch and learning rate.

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
    attention = replace(p.attention, **changes) if p.attention else None
    searched = replace(p.foresight, recipes={where: replace(r, **changes) for where, r in p.foresight.recipes.items()})
    rest = {name: value for name, value in changes.items() if name not in ("epochs", "batch", "lr")}  # a round's own
    moved = replace(
        p.transfer,
        recipes={where: replace(r, **changes) for where, r in p.transfer.recipes.items()},
        retrain=replace(p.transfer.retrain, **rest),
    )
    made = {"recipes": recipes, "attention": attention, "transfer": moved, "foresight": searched}
    return replace(p, watermark=f"{p.name} profile with {words}", changes=(*p.changes, *changes.items()), **made)


def profile(name: str) -> Profile:
    """The profile called `name`."""
    return PROFILES[choose("profile", name, PROFILES)]
