"""Loss surfaces around a trained network, over its weights and over its input images, and how flat they are.

Shapes: x (B, C, H, W) floats in [0, 1], y (B,) class indices. Losses are mean cross-entropies in nats. Networks are evaluated in eval(),
so that batch normalisation keeps the statistics of the centre, and get their weights back bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from replib.attacks import PGD
from replib.attacks.losses import cross_entropy
from replib.attacks.pgd import attacking, perturb
from replib.data.augment import to_float
from replib.data.load import load
from replib.spec import Job, Pinned, SpecError, stream_seed, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import trained
from replib.training.spec import Train
from replib.training.state import generator

Direction = dict[str, Tensor]
BATCH = 500


def axis(points: int, radius: float = 1.0) -> np.ndarray:
    """`points` (odd) evenly spaced coordinates from -`radius` to `radius`; the one in the middle is exactly 0."""
    if points < 3 or points % 2 == 0:
        raise SpecError(f"points = {points!r} is not allowed; give an odd number from 3 on, so that the centre is on the grid.")
    half = points // 2
    return radius * np.arange(-half, half + 1) / half


def filter_normalised(noise: Tensor, weight: Tensor) -> Tensor:
    """`noise` rescaled so that each filter has the norm of the same filter of `weight`; a zero filter gets zeros.

    Both (F, ...) for F filters or neurons. Li et al., NeurIPS 2018, Section 4.
    """
    dims = tuple(range(1, weight.ndim))
    wanted = torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
    return noise * (wanted / (torch.linalg.vector_norm(noise, dim=dims, keepdim=True) + 1e-10))


def random_direction(net: nn.Module, rng: torch.Generator, *, masked: bool = True) -> Direction:
    """A random direction in weight space, filter-normalised; biases and batch normalisation stay where they are.

    `masked`: pruned weights, those that are exactly zero, stay zero, so that the plane lies in the subnetwork. The noise is drawn before it
    is masked: networks of one shape get the same noise from one generator.

    Departs: the reference tool perturbs pruned weights too (`masked` False), which re-grows what was pruned and is not comparable across
    masks.
    """
    found = {}
    for name, w in net.named_parameters():
        noise = torch.randn(w.shape, generator=rng).to(w)
        if w.ndim < 2:
            continue
        w = w.detach()
        found[name] = filter_normalised(noise * (w != 0) if masked else noise, w)
    return found


@contextmanager
def moved(net: nn.Module, *steps: tuple[float, Direction]) -> Iterator[nn.Module]:
    """Inside, the weights of `net` move by the sum of coefficient times direction; afterwards they are as before, bit for bit."""
    parameters = dict(net.named_parameters())
    names = {n for _, d in steps for n in d}
    before = {n: parameters[n].detach().clone() for n in names}
    try:
        with torch.no_grad():
            for coefficient, direction in steps:
                for name, d in direction.items():
                    parameters[name].add_(d, alpha=coefficient)
        yield net
    finally:
        with torch.no_grad():
            for name, w in before.items():
                parameters[name].copy_(w)


def mean_loss(net: nn.Module, x: Tensor, y: Tensor, attack: PGD | None = None, seed: int = 0) -> float:
    """Mean cross-entropy on (x, y), or on images that `attack` makes of them on this very network with starts drawn from `seed`."""
    rng = torch.Generator().manual_seed(seed)
    losses = []
    with attacking(net, "eval"):
        for xb, yb in zip(x.split(BATCH), y.split(BATCH), strict=True):
            images = xb if attack is None else perturb(net, xb, yb, attack, rng)
            with torch.no_grad():
                losses.append(cross_entropy(net(images), yb))
    return torch.cat(losses).double().mean().item()


def attacked(net: nn.Module, x: Tensor, y: Tensor, attack: PGD, seed: int = 0) -> Tensor:
    """The images that :func:`mean_loss` with the same `attack` and `seed` evaluates."""
    rng = torch.Generator().manual_seed(seed)
    return torch.cat([perturb(net.eval(), xb, yb, attack, rng) for xb, yb in zip(x.split(BATCH), y.split(BATCH), strict=True)])


def weight_surface(
    net: nn.Module,
    loss_of: Callable[[nn.Module], float],
    first: Direction,
    second: Direction,
    coordinates: Sequence[float],
    others: Sequence[float] | None = None,
) -> np.ndarray:
    """`loss_of` the network displaced by a times `first` plus b times `second`: float64 (a, b), a of `coordinates` and b of `others`.

    Without `others`, over the square of `coordinates`.
    """
    others = coordinates if others is None else others
    surface = np.empty((len(coordinates), len(others)))
    for i, a in enumerate(coordinates):
        for j, b in enumerate(others):
            with moved(net, (float(a), first), (float(b), second)):
                surface[i, j] = loss_of(net)
    return surface


def pixel_surface(
    net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator, coordinates: Sequence[float], *, clip: bool = False
) -> np.ndarray:
    """Mean loss at x + a u + b v: float64 (a, b). u is the sign of each image's loss gradient, v a random vector of -1 and 1.

    `coordinates` are in pixel units. Without `clip` images may leave [0, 1]: the surface shows the function, not an attack. The figure of A
    does not define itself; this is the construction of the papers it cites.
    """
    net.eval()
    with attacking(net, "eval"):
        gradients = []
        for xb, yb in zip(x.split(BATCH), y.split(BATCH), strict=True):
            xb = xb.detach().clone().requires_grad_(True)
            gradients.append(torch.autograd.grad(cross_entropy(net(xb), yb).sum(), xb)[0])
    u = torch.cat(gradients).sign()
    v = (2 * torch.randint(0, 2, x.shape, generator=rng) - 1).to(x)
    surface = np.empty((len(coordinates), len(coordinates)))
    for i, a in enumerate(coordinates):
        for j, b in enumerate(coordinates):
            images = x + float(a) * u + float(b) * v
            surface[i, j] = mean_loss(net, images.clamp(0, 1) if clip else images, y)
    return surface


def sharpness(net: nn.Module, loss_of: Callable[[nn.Module], float], directions: Sequence[Direction], radii: Sequence[float]) -> np.ndarray:
    """S = L(θ + ρ d) - L(θ) for each radius and direction: float64 (radii, directions). Its mean over directions is the sharpness."""
    centre = loss_of(net)
    rises = np.empty((len(radii), len(directions)))
    for k, direction in enumerate(directions):
        for i, radius in enumerate(radii):
            with moved(net, (float(radius), direction)):
                rises[i, k] = loss_of(net) - centre
    return rises


def basin_area(surface: np.ndarray, rise: float = 1.0) -> float:
    """Share of the grid whose loss is at most `rise` nats above that of its centre."""
    middle = surface[surface.shape[0] // 2, surface.shape[1] // 2]
    return float((surface <= middle + rise).mean())


def cosine(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Cosine of the angle between two directions."""
    dot, aa, bb = (sum((p[n] * q[n]).double().sum() for n in a) for p, q in ((a, b), (a, a), (b, b)))
    return float(dot / (aa * bb).sqrt().clamp_min(1e-30))


@dataclass(frozen=True)
class Landscape(Job):
    """Adversarial loss of one checkpoint over a square of its weights, or the loss over a square of its input images.

    `space` "weights": two filter-normalised random directions, `radius` in filter norms. `adversarial` "fixed": images are attacked once at
    the centre, as figures do; "recompute": attacked anew at every grid point, which is the adversarial loss itself and much dearer.
    `space` "pixels": loss gradient's sign against a random direction, `radius` in multiples of ε; `attack` then only gives ε.
    """

    kind: ClassVar[str] = "landscape"

    run: Train | Pinned
    attack: PGD
    space: Literal["weights", "pixels"] = "weights"
    adversarial: Literal["fixed", "recompute"] = "fixed"
    points: int = 21
    radius: float = 1.0
    images: int = 250
    checkpoint: str = "final"
    masked: bool = True

    def check(self) -> None:
        within("Landscape.radius", self.radius, 0, low_open=True)
        within("Landscape.images", self.images, 1)
        axis(self.points)

    def label(self) -> str:
        return f"loss over {self.space} of {unpinned(self.run).label()}"

    def passes(self) -> int:
        """Forward and backward passes of one image."""
        each = 1 + 2 * self.attack.steps * (self.adversarial == "recompute" and self.space == "weights")
        return self.points**2 * self.images * each


@dataclass(frozen=True)
class Flatness(Job):
    """Numbers of flatness around one checkpoint: rise of the loss at `radii` (in filter norms) along `directions` random directions.

    The adversarial loss is attacked anew at every point. One seed gives all networks the same noise.
    """

    kind: ClassVar[str] = "flatness"

    run: Train | Pinned
    attack: PGD
    radii: tuple[float, ...] = (0.1, 0.25, 0.5)
    directions: int = 10
    images: int = 250
    checkpoint: str = "final"
    masked: bool = True

    def check(self) -> None:
        within("Flatness.directions", self.directions, 1)
        within("Flatness.images", self.images, 1)
        for radius in self.radii:
            within("Flatness.radii", radius, 0, low_open=True)

    def label(self) -> str:
        return f"flatness of {unpinned(self.run).label()}"

    def passes(self) -> int:
        """Forward and backward passes of one image."""
        return (1 + len(self.radii) * self.directions) * self.images * (2 + 2 * self.attack.steps)


def centre(run: Train | Pinned, checkpoint: str, images: int, context: Context) -> tuple[nn.Module, Tensor, Tensor, int]:
    """The network, the first `images` test images and their classes, and the seed of the attack's starts."""
    task = context.parent(run)
    split = load(task.job.data, context.data_root, context.device)
    net = trained(context, task, checkpoint, split)
    n = min(images, len(split.test))
    return net, to_float(split.test.x[:n]), split.test.y[:n], stream_seed(context.task.seed, "landscape/attack")


def run_landscape(job: Landscape, context: Context) -> Output:
    """The surface as float32 (points, points), its coordinates, and the losses at its centre."""
    net, x, y, seed = centre(job.run, job.checkpoint, job.images, context)
    results = {"clean": mean_loss(net, x, y), "adversarial": mean_loss(net, x, y, job.attack, seed), "images": len(x)}
    coordinates = axis(job.points, job.radius)
    if job.space == "pixels":
        surface = pixel_surface(net, x, y, generator(context.task.seed, "landscape/pixels"), coordinates * job.attack.eps)
    else:
        first, second = (random_direction(net, generator(context.task.seed, f"direction/{k}"), masked=job.masked) for k in (0, 1))
        results["cosine"] = cosine(first, second)
        images = attacked(net, x, y, job.attack, seed) if job.adversarial == "fixed" else x
        attack = None if job.adversarial == "fixed" else job.attack
        surface = weight_surface(net, lambda n: mean_loss(n, images, y, attack, seed), first, second, coordinates)
    middle = job.points // 2
    results |= {"centre": float(surface[middle, middle]), "basin_area": basin_area(surface)}
    return Output(results=results, arrays={"loss": surface.astype(np.float32), "axis": coordinates.astype(np.float32)})


def run_flatness(job: Flatness, context: Context) -> Output:
    """Mean rise of the clean and of the adversarial loss at each radius, and every direction's rise as arrays."""
    net, x, y, seed = centre(job.run, job.checkpoint, job.images, context)
    streams = [generator(context.task.seed, f"direction/{k}") for k in range(job.directions)]
    directions = [random_direction(net, rng, masked=job.masked) for rng in streams]
    results, arrays = {"images": len(x)}, {}
    for name, attack in (("clean", None), ("adversarial", job.attack)):
        rises = sharpness(net, lambda n, a=attack: mean_loss(n, x, y, a, seed), directions, job.radii)
        means = {f"{radius:g}": float(mean) for radius, mean in zip(job.radii, rises.mean(1), strict=True)}
        results[name] = {"centre": mean_loss(net, x, y, attack, seed)} | means
        arrays[name] = rises.astype(np.float32)
    return Output(results=results, arrays=arrays)
