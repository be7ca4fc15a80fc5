"""Networks that others pre-trained on ImageNet and published: who, where, which file, how accurate. Nothing here imports torch.

Double-Win Lottery Tickets prunes three ResNet-50: pre-trained with standard training, with PGD adversarial training and with fast
adversarial training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replib.data.status import data_root
from replib.spec import ReplibError, choose

FOLDER = "released"
"""Below the folder of the data sets."""


@dataclass(frozen=True)
class Weights:
    """One published ResNet-50. `megabytes` and `sha256` are None where they are not known here.

    `accuracy` is the publisher's clean top-1 on ImageNet's validation images in percent, None where it is not known; `eps` the l-infinity
    radius that it was trained with, in pixel units.
    """

    name: str
    training: str
    publisher: str
    url: str
    file: str
    eps: float
    accuracy: float | None = None
    megabytes: float | None = None
    sha256: str | None = None


_TABLE = (
    Weights(
        "std", "standard training", "torchvision, the weights ResNet50_Weights.IMAGENET1K_V1",
        "https://download.pytorch.org/models/resnet50-0676ba61.pth", "resnet50-0676ba61.pth", 0.0, 76.13, 102.5, "0676ba61",
    ),
    # Departs: the paper names two sources of the adversarially trained network and no radius for the first; this is that one, at 8/255.
    Weights(
        "at", "PGD adversarial training", "Salman and others, Do Adversarially Robust ImageNet Models Transfer Better?",
        "https://huggingface.co/madrylab/robust-imagenet-models/resolve/main/resnet50_linf_eps8.0.ckpt", "resnet50_linf_eps8.0.ckpt",
        8 / 255, 54.53,
    ),
    # Departs: the paper does not say which of the two published radii it uses; this is the larger one.
    Weights(
        "fat", "fast adversarial training", "Wong and others, Fast is better than free",
        "https://github.com/locuslab/fast_adversarial (its folder ImageNet links to the file)", "imagenet_model_weights_4px.pth.tar",
        4 / 255,
    ),
)  # fmt: skip

RELEASED: dict[str, Weights] = {w.name: w for w in _TABLE}


def released(name: str) -> Weights:
    """The entry called `name`; a :class:`~replib.spec.SpecError` names the nearest one if there is none."""
    return RELEASED[choose("released weights", name, RELEASED)]


def examine(name: str, root: str | Path | None = None) -> tuple[str, str]:
    """("present" | "missing" | "damaged", what exactly). Reads the whole file where its checksum is known.

    torchvision gives the first eight digits of the checksum in the file's name; as many are compared as are known.
    """
    entry = released(name)
    path = data_root(root) / FOLDER / entry.file
    if not path.is_file():
        return "missing", f"no {path}"
    if entry.sha256 is None:
        return "present", f"{path}; no checksum of it is known here"
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(entry.sha256):
        return "damaged", f"{path} has sha256 {found}, which does not begin with {entry.sha256}"
    return "present", f"{path}, sha256 as published"


def remedy(name: str, root: str | Path | None = None) -> str:
    """What to fetch, from whom, and where to put it."""
    entry = released(name)
    size = f" ({entry.megabytes:g} MB)" if entry.megabytes else ""
    return (
        f"It is published by {entry.publisher}: {entry.url}{size}. Save it as {data_root(root) / FOLDER / entry.file}, or "
        f"name the data folder that has it with --root or REPLIB_DATA."
    )


def locate(name: str, root: str | Path | None = None) -> Path:
    """The file of the weights `name`. Raises :class:`~replib.spec.ReplibError`, with the remedy, if it is missing or damaged."""
    state, detail = examine(name, root)
    if state != "present":
        raise ReplibError(f"The released weights {name!r} are {state}: {detail}. {remedy(name, root)}")
    return data_root(root) / FOLDER / released(name).file


def report(names: Iterable[str] = (), root: str | Path | None = None) -> list[dict[str, Any]]:
    """One row for each released network (no names: all).

    Keys: name, training, publisher, url, megabytes, eps, accuracy, state, detail, remedy (empty if present).
    """
    rows = []
    for name in tuple(names) or RELEASED:
        entry, (state, detail) = released(name), examine(name, root)
        rows.append(
            {key: getattr(entry, key) for key in ("name", "training", "publisher", "url", "megabytes", "eps", "accuracy")}
            | {"state": state, "detail": detail, "remedy": "" if state == "present" else remedy(name, root)}
        )
    return rows
