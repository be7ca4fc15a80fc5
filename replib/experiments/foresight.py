"""What D does at a scale: how a mask is searched before training, how networks are trained under it, and at which densities.

Its recipes stand apart from the others': D trains with Adam, whose learning rate theirs is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from replib.data import Data
from replib.experiments.places import CNN10, CNN100, CNN_MNIST, MLP_MNIST, VGG10
from replib.experiments.recipe import Recipe
from replib.models import Net


@dataclass(frozen=True)
class Searching:
    """How a mask is searched. Lengths are in epochs, images and steps."""

    epochs: int = 20
    batch: int = 64
    lr: float = 5e-4
    steps: int = 20  # of the attack, each of 2.5 radii over their number
    kernel: Literal["whole", "halves"] = "whole"
    entries: Literal["all", "diagonal"] = "all"
    refresh: int = 100
    every: int = 100  # steps between lines of the log
    held_out: int = 64
    block: int = 16


@dataclass(frozen=True)
class Foresight:
    """Recipes and searches by place, and the densities of the figures."""

    recipes: Mapping[tuple[str, str], Recipe]
    searches: Mapping[tuple[str, str], Searching]
    radius: float = 0.3  # of the attacks of Figure 3 in the Euclidean norm
    perceptron: tuple[float, ...] = (0.018, 0.036, 0.087, 0.169, 0.513)
    low: tuple[float, ...] = (0.01, 0.02, 0.03, 0.04, 0.05)
    wide: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    high: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    natural: int | None = None  # epochs of Figure 1's searches, where not those of the place
    grafted: tuple[float, ...] = (0.01, 0.03, 0.05, 0.1, 0.5, 0.9)
    grafts: int = 4  # moments of training, evenly spaced, the last one its end
    graft_images: int | None = 1000
    graft_steps: int = 20
    unsampled: tuple[float, ...] = ()  # densities of Table 2 at which the whole kernel is computed too
    prolonged: tuple[float, ...] = ()  # and at which the search is made several times as long too
    printed: float | None = None  # radius of Table 1 in the paper, where the perceptron's recipe has another


def attack_fields(train: int, val: int, test: int) -> dict[str, float]:
    """Fields of a recipe for attacks of so many steps, each of 2.5 radii over their number (Madry et al., 2018)."""
    return {"train_steps": train, "train_step": 2.5 / train, "val_steps": val, "val_step": 2.5 / val, "test_steps": test}


# Departs: no weight decay. The paper says that it applies some, gives no value, and its analysis includes it.
_PRINTED = {"epochs": 100, "batch": 64, "weight_decay": 0.0, "lr": 1e-3, **attack_fields(20, 20, 100)}
_MLP = Recipe(Data("mnist"), Net("mlp"), eps=0.3, **_PRINTED)
_PHOTO = replace(_MLP, data=Data("cifar10", augment="none"), net=Net("cnn"), eps=8 / 255)

PAPER = Foresight(
    {
        MLP_MNIST: _MLP,
        CNN_MNIST: replace(_MLP, net=Net("cnn")),
        CNN10: _PHOTO,
        CNN100: replace(_PHOTO, data=Data("cifar100", augment="none")),
        VGG10: replace(_PHOTO, net=Net("vgg16_bn"), epochs=20),
    },
    {
        MLP_MNIST: Searching(block=64),
        CNN_MNIST: Searching(),
        CNN10: Searching(),
        CNN100: Searching(block=4),
        VGG10: Searching(epochs=10, entries="diagonal", block=8),
    },
)

# Departs: PGD-3 in training, validation and search, each step 2.5 radii over their number like the paper's 20; tables are evaluated with
# its PGD-100 all the same.
# Departs: a third of the radius on MNIST: 500 images at half the resolution teach little under 0.3, and a perceptron that meets 0.2 has
# not learned much by the end (calibration). Batches of 32, of convolutions 16, and 1.5 to five times the learning rate, so that few epochs
# are enough steps.
# Departs: the kernel of a step pairs one half of a batch with the other, as the method that D extends does; batches of a
# convolutional network's search are smaller than those of its training, and masks are renewed every 8 to 20 steps of 40 to 500.
# The perceptron's and VGG's searches have four times the published learning rate; the others keep it, since with four times the kernel
# at 90 % ended two to three times as far from its goal as it had begun. Even so it ends somewhat farther on ten classes, targets at 90 %
# two to four times as far; and at low density the slower search comes less near there (calibration).
_CHEAP = {"batch": 32, "weight_decay": 0.0, **attack_fields(3, 3, 100)}
_SMALL = Recipe(Data("mnist14", n_val=250, n_test=1000), Net("mlp"), eps=0.1, epochs=30, lr=5e-3, **_CHEAP)
# Departs: convolutions have 24 channels and there are 24 epochs: with 12 channels, in 16 epochs of batches of 32, random structures of 5 %
# came to about 20 % under attack where they now come to about 40 (calibration; 34 in the mean of the reported seeds). At 1 and 2 % little
# is learned all the same; of a hundred classes, whose exhibits start at 10 %, nothing at 5 %.
_CNN = replace(_SMALL, data=Data("mnist14", n_val=250, n_test=500), net=Net("cnn_small", width=24), epochs=24, batch=16, lr=3e-3)
_DIGITS = replace(_CNN, data=Data("digits", augment="none", n_val=250))
_QUICK = Searching(epochs=16, batch=32, lr=2e-3, steps=3, kernel="halves", refresh=15, every=15, held_out=32, block=32)
_CONVOLVED = replace(_QUICK, epochs=8, batch=8, lr=5e-4, refresh=20, every=20, held_out=16)
_SAMPLED = replace(_CONVOLVED, epochs=1, kernel="whole", entries="diagonal", held_out=8)

LAPTOP = Foresight(
    {
        MLP_MNIST: _SMALL,
        CNN_MNIST: _CNN,
        CNN10: _DIGITS,
        # Departs: a hundred classes at half the digits' radius and half their learning rate, with which the dense network learns.
        CNN100: replace(
            _DIGITS, data=Data("digit_pairs", augment="none", n_train=500, n_val=200, n_test=400), eps=0.05, epochs=20, lr=1.5e-3
        ),
        # As many epochs and validation images as the second paper's networks have, which Table 2 sets beside it.
        VGG10: replace(_DIGITS, data=Data("digits", augment="none"), net=Net("vgg_small"), eps=0.15, epochs=20, batch=32),
    },
    {
        MLP_MNIST: _QUICK,
        CNN_MNIST: _CONVOLVED,
        CNN10: _CONVOLVED,
        # Departs: of a hundred classes only the diagonal, the paper's own way out for large networks.
        CNN100: _SAMPLED,
        VGG10: replace(_SAMPLED, batch=10, lr=2e-3, refresh=8, every=8),
    },
    # Departs: six of the ten densities of Figures 5 and 7.
    wide=(0.05, 0.1, 0.3, 0.5, 0.7, 0.9),
    # Departs: four times the epochs of the other searches. In as many the kernel had moved by 4 % and tickets ended 23 points behind
    # surgery's; in these it moves by 7 %, and they end 11 points behind.
    natural=64,
    grafted=(0.03, 0.1, 0.5),
    graft_images=200,
    graft_steps=5,
    unsampled=(0.1,),
    prolonged=(0.1,),
    printed=0.3,
)

_TINY = {"epochs": 2, "batch": 30, **attack_fields(2, 2, 3)}
_FEW = replace(_SMALL, data=Data("mnist14", n_train=60, n_val=20, n_test=20), net=Net("mlp_small", width=8), **_TINY)
_FEW_CNN = replace(_FEW, net=Net("cnn_small", width=4))
_FEW_DIGITS = replace(_FEW_CNN, data=Data("digits", n_train=60, n_val=20, n_test=20))
_LEAST = Searching(epochs=2, batch=20, steps=1, kernel="halves", refresh=2, every=1, held_out=4)

SMOKE = Foresight(
    {
        MLP_MNIST: _FEW,
        CNN_MNIST: _FEW_CNN,
        CNN10: _FEW_DIGITS,
        CNN100: replace(_FEW_DIGITS, data=Data("digit_pairs", n_train=100, n_val=100, n_test=100), batch=50),
        VGG10: replace(_FEW_DIGITS, net=Net("vgg_small", width=4, blocks=1), epochs=1),
    },
    {
        MLP_MNIST: _LEAST,
        CNN_MNIST: _LEAST,
        CNN10: _LEAST,
        CNN100: replace(_LEAST, epochs=1, kernel="whole", entries="diagonal"),
        VGG10: replace(_LEAST, kernel="whole", entries="diagonal"),
    },
    perceptron=(0.087, 0.169, 0.513),
    low=(0.01, 0.02, 0.03),
    wide=(0.05, 0.1, 0.5),
    high=(0.1, 0.5),
    grafted=(0.1,),
    grafts=1,
    graft_images=20,
    graft_steps=1,
    unsampled=(0.1,),
    prolonged=(0.1,),
    printed=0.3,
)

# Departs: 10,000 images of MNIST for convolutions, which are narrow, and 2,000 photographs at half the resolution; PGD-5 in training and
# search, fewer epochs: what a processor does in a night. The perceptron has all images, and searches of the paper's length.
# Departs: on MNIST a radius of 0.3 standard deviations of its pixels, 0.0924 of their range. With 0.3 of the range the dense perceptron
# learned nothing in ten epochs of the calibration, with 0.3 deviations it came near the printed accuracies. Table 1 has a row for each.
DEVIATION = 0.3081
_REDUCED = {"batch": 64, **attack_fields(5, 5, 100)}
_MNIST = replace(_MLP, eps=round(0.3 * DEVIATION, 4), epochs=10, **_REDUCED)
_TEN = Data("mnist", n_train=10_000, n_val=500, n_test=1000)
_PART = replace(_PHOTO, data=Data("cifar10", augment="none", n_train=2000, n_val=500, n_test=1000, height=16), epochs=20, **_REDUCED)
_PART = replace(_PART, net=Net("cnn_small", width=24))
_SHORT = Searching(batch=16, steps=5, kernel="halves", refresh=20, every=20)  # of 120 to 620 steps

WORKSTATION = Foresight(
    {
        MLP_MNIST: _MNIST,
        CNN_MNIST: replace(_MNIST, data=_TEN, net=Net("cnn_small", width=24), epochs=3, batch=32),
        CNN10: _PART,
        CNN100: replace(_PART, data=Data("cifar100", augment="none", n_train=3000, n_val=500, n_test=1000, height=16)),
        # As many images and epochs as the second paper's networks have, which Table 2 sets beside it.
        VGG10: replace(
            _PART, data=Data("cifar10", augment="none", n_train=1000, n_val=500, n_test=1000, height=16), net=Net("vgg_small"), epochs=36
        ),
    },
    {
        MLP_MNIST: Searching(steps=5, kernel="halves", block=64),
        CNN_MNIST: replace(_SHORT, epochs=1),
        CNN10: replace(_SHORT, epochs=2),
        CNN100: replace(_SHORT, epochs=1, kernel="whole", entries="diagonal", held_out=16),
        VGG10: replace(_SHORT, epochs=2, kernel="whole", entries="diagonal"),
    },
    wide=(0.05, 0.1, 0.3, 0.5, 0.7, 0.9),
    unsampled=(0.1,),
    printed=0.3,
)
