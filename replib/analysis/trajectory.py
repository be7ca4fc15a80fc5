"""The plane in which a training run moved most: principal components of its checkpoints, and the loss in that plane.

A checkpoint is a row of all weights with two or more dimensions; biases and batch normalisation are left out. The final network is the
origin. Weights are read in blocks of a few rows of one tensor, so that 200 checkpoints of eleven million weights need no 9 GB at once.
Construction of Li et al., NeurIPS 2018, Section 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from replib.analysis.landscape import Direction, attacked, centre, mean_loss, weight_surface
from replib.attacks import PGD
from replib.data.load import load
from replib.spec import Job, Pinned, ReplibError, SpecError, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import checkpoint_name, trained
from replib.training.spec import Train

BLOCK = 2**24
"""Numbers held at once while checkpoints are read: 128 MiB in double precision."""


@dataclass(frozen=True)
class Plane:
    """The first two principal components of C checkpoints.

    `mix` (2, C): each component is this combination of the checkpoints; its entries add up to 0. `coordinates` (C, 2): of each checkpoint,
    seen from the last, in Euclidean norms of the weights. `explained` (2,): shares of the variance of the checkpoints around their mean.
    """

    mix: np.ndarray
    coordinates: np.ndarray
    explained: np.ndarray


def gram(blocks: Iterable[Tensor]) -> np.ndarray:
    """Inner products of all differences from the last checkpoint: float64 (C, C). Each block (C, n) holds some weights of every one."""
    total: Tensor | None = None
    for block in blocks:
        rows = block.double() - block[-1].double()
        total = rows @ rows.T if total is None else total.addmm_(rows, rows.T)
    if total is None:
        raise ReplibError("There are no weights with two or more dimensions to take components of. Give a network with convolutions.")
    return total.numpy()


def principal_plane(products: np.ndarray) -> Plane:
    """The plane from the inner products of :func:`gram`: a C x C eigenproblem in place of an SVD of C x N.

    With rows r_t = θ_t - θ_T and H the centring matrix, H K H = U S² Uᵀ; component i is Σ_t u_ti r_t / s_i, and Σ_t u_ti = 0, so that it is
    the same combination of the θ_t. Signs are such that the first checkpoint has no negative coordinate.
    """
    n = len(products)
    centring = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(centring @ products @ centring)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    if n < 3 or values[1] <= 1e-12 * values[0]:
        raise ReplibError(f"The {n} checkpoints lie on a line, which spans no plane. Train for at least two epochs.")
    mix = vectors[:, :2].T / np.sqrt(values[:2, None])
    mix -= mix.mean(1, keepdims=True)
    coordinates = products @ mix.T
    signs = np.where(coordinates[0] < 0, -1.0, 1.0)
    return Plane(mix * signs[:, None], coordinates * signs, values[:2] / values.sum())


def margined(values: Sequence[float] | np.ndarray, points: int, margin: float = 0.2) -> np.ndarray:
    """`points` evenly spaced coordinates over the range of `values` and 0, wider by the share `margin` at each end; one is exactly 0.

    To have 0 among them the grid is shifted by at most half its spacing.
    """
    low, high = min(0.0, *values), max(0.0, *values)
    extent = (high - low) * (1 + 2 * margin)
    if extent == 0:
        raise ReplibError("All checkpoints have the same coordinate, so there is no range to draw. Train for longer.")
    step = extent / (points - 1)
    return step * (np.arange(points) - round((margin * (high - low) - low) / step))


def pieces(shapes: Mapping[str, Sequence[int]], checkpoints: int, limit: int = BLOCK) -> Iterator[tuple[str, slice]]:
    """Tensors with two or more dimensions, cut along the first into slices of about `limit` numbers over all checkpoints."""
    for name, shape in shapes.items():
        if len(shape) < 2:
            continue
        rows = max(1, limit // (checkpoints * math.prod(shape[1:])))
        for start in range(0, shape[0], rows):
            yield name, slice(start, min(start + rows, shape[0]))


def read_piece(paths: Sequence[Path], name: str, rows: slice) -> Tensor:
    """Some rows of one tensor in every checkpoint, flattened: (C, n)."""
    found = []
    for path in paths:
        with safe_open(path, "pt") as f:  # closed at once: a mapped file counts as memory as long as it is open
            found.append(f.get_slice(name)[rows].flatten().clone())
    return torch.stack(found)


def components(paths: Sequence[Path]) -> tuple[Plane, Direction, Direction]:
    """The plane of the checkpoints in `paths`, and its two components as float32 tensors by parameter name."""
    with safe_open(paths[0], "pt") as f:
        shapes = {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118, no mapping
    plane = principal_plane(gram(read_piece(paths, name, rows) for name, rows in pieces(shapes, len(paths))))
    mix = torch.from_numpy(plane.mix)
    found: tuple[Direction, Direction] = ({}, {})
    for name, rows in pieces(shapes, len(paths)):
        mixed = (mix @ read_piece(paths, name, rows).double()).float()
        for direction, part in zip(found, mixed, strict=True):
            direction.setdefault(name, torch.empty(shapes[name]))[rows] = part.view(-1, *shapes[name][1:])
    return plane, *found


@dataclass(frozen=True)
class Trajectory(Job):
    """A run's path through weight space in the plane of its first two principal components, and the loss over that plane.

    The run keeps every epoch's weights (``retain=("weights",)``). The grid is the bounding box of the path with a margin of `margin` of its
    sides, `points` along each. The adversarial loss is that of images which `attack` made once, at the final network.

    At every point of the grid biases and batch normalisation, its running statistics included, are those of the final network. A checkpoint
    lies in the plane only by its projection and had its own: the loss drawn under it is not the loss that it had, which is reported too.
    """

    kind: ClassVar[str] = "trajectory"

    run: Train | Pinned
    attack: PGD
    points: int = 21
    margin: float = 0.2
    images: int = 250

    def check(self) -> None:
        within("Trajectory.points", self.points, 5)  # with fewer the shift that puts 0 on the grid could exceed the usual margin
        within("Trajectory.margin", self.margin, 0)
        within("Trajectory.images", self.images, 1)
        run = unpinned(self.run)
        if "weights" not in run.retain:
            raise SpecError("Trajectory.run keeps too few of its weights; give it retain=('weights',).")
        if run.epochs < 2:
            raise SpecError("Trajectory.run has one epoch, which makes no plane; give it at least 2.")

    def label(self) -> str:
        return f"trajectory of {unpinned(self.run).label()}"

    def passes(self) -> int:
        """Forward and backward passes of one image: the attack at the end, and both losses on the grid and along the path."""
        return 2 * self.images * (self.attack.steps + self.points**2 + unpinned(self.run).epochs + 1)


def checkpoints(context: Context, run: Train | Pinned) -> list[str]:
    """Names of all weights of a finished run: before training, and after each epoch."""
    return ["initial", *(f"epoch_{n}" for n in range(1, context.store.results(context.parent(run))["epochs"] + 1))]


def losses_along(
    context: Context, run: Train | Pinned, names: Sequence[str], images: Mapping[str, Tensor], y: Tensor
) -> dict[str, np.ndarray]:
    """Mean losses of the checkpoints as they were, biases and batch normalisation included: (C,) for each kind of `images`."""
    task = context.parent(run)
    split = load(task.job.data, context.data_root, context.device)
    found = np.empty((len(images), len(names)))
    for i, name in enumerate(names):  # one network at a time
        net = trained(context, task, name, split)
        found[:, i] = [mean_loss(net, shown, y) for shown in images.values()]
    return dict(zip(images, found, strict=True))


def run_trajectory(job: Trajectory, context: Context) -> Output:
    """Shares of variance and losses at the origin; as arrays the path, both losses over the plane, and both losses along the path."""
    task = context.parent(job.run)
    names = checkpoints(context, job.run)
    paths = [context.store.path(task, f"{checkpoint_name(context.store, task, name)}.safetensors") for name in names]
    plane, first, second = components(paths)
    net, x, y, seed = centre(job.run, "final", job.images, context)
    weights = dict(net.named_parameters())
    first, second = ({n: d.to(weights[n]) for n, d in direction.items()} for direction in (first, second))
    images = {"clean": x, "adversarial": attacked(net, x, y, job.attack, seed)}
    axes = [margined(values, job.points, job.margin) for values in plane.coordinates.T]
    arrays = {"first": axes[0], "second": axes[1], "coordinates": plane.coordinates, "lr": context.store.table(task)["lr"].to_numpy()}
    results = {"explained": plane.explained.tolist(), "checkpoints": len(names), "images": len(x), "centre": {}}
    for kind, shown in images.items():
        arrays[kind] = weight_surface(net, lambda n, z=shown: mean_loss(n, z, y), first, second, *axes)
        results["centre"][kind] = mean_loss(net, shown, y)
    own = losses_along(context, job.run, names, images, y)
    arrays |= {f"{kind}_path": values for kind, values in own.items()}
    results["start"] = {kind: float(values[0]) for kind, values in own.items()}
    return Output(results=results, arrays={n: a.astype(np.float32) for n, a in arrays.items()})
