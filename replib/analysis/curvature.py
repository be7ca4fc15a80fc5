"""How sharply the loss bends around a trained network: by its weights, by its images, and how wide the valley is.

Losses are mean cross-entropies in nats of networks in eval(). Attacked images are made once, at the centre, so that what bends is one
function of the weights. None of the papers defines these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from replib.analysis.landscape import BATCH, Direction, attacked, centre, mean_loss, moved, random_direction
from replib.attacks import PGD
from replib.attacks.losses import cross_entropy
from replib.attacks.pgd import attacking
from replib.spec import Job, Pinned, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.spec import Train
from replib.training.state import generator

RADII = np.linspace(0, 2, 21)
"""Distances, in filter norms, between which the edge of a valley is interpolated."""


def largest_eigenvalue(
    loss_of: Callable[[], Tensor], weights: Sequence[Tensor], rng: torch.Generator, *, iterations: int = 50, tolerance: float = 1e-3
) -> float:
    """The eigenvalue of largest magnitude of the Hessian of `loss_of()` by the weights that are not exactly zero.

    Power iteration with Hessian-vector products, until the estimate changes by less than a share `tolerance` or after `iterations`. What
    is pruned stays out: the Hessian is that of the subnetwork. Zero if the loss does not bend at all.
    """
    kept = [(w != 0).to(w) for w in weights]
    v = _unit([torch.randn(w.shape, generator=rng).to(w) * k for w, k in zip(weights, kept, strict=True)])
    gradients = torch.autograd.grad(loss_of(), weights, create_graph=True)
    found = 0.0
    for _ in range(iterations):
        products = torch.autograd.grad(gradients, weights, grad_outputs=v, retain_graph=True)
        products = [p * k for p, k in zip(products, kept, strict=True)]
        before, found = found, float(sum((a * b).sum().double() for a, b in zip(v, products, strict=True)))
        if not any(p.any() for p in products):
            return 0.0
        if abs(found - before) <= tolerance * abs(found):
            break
        v = _unit(products)
    return found


def _unit(parts: Sequence[Tensor]) -> list[Tensor]:
    length = torch.sqrt(sum((p.double() ** 2).sum() for p in parts)).clamp_min(1e-30)
    return [p / length.to(p) for p in parts]


def input_gradient(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Mean over images (B, C, H, W) of the sum of magnitudes of the loss's gradient by the pixels, in nats from black to white."""
    found = []
    with attacking(net, "eval"):
        for xb, yb in zip(x.split(BATCH), y.split(BATCH), strict=True):
            xb = xb.detach().clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(cross_entropy(net(xb), yb).sum(), xb)
            found.append(gradient.abs().flatten(1).sum(1))
    return float(torch.cat(found).double().mean())


def basin_width(
    net: nn.Module, loss_of: Callable[[nn.Module], float], direction: Direction, radii: Sequence[float] = RADII, rise: float = 1.0
) -> float:
    """The distance at which the mean loss of both sides along `direction` is `rise` nats above that of the centre.

    Linear between neighbouring `radii`, which begin at 0; the last of them where the loss has not risen so far by then.
    """
    start = loss_of(net)
    before = 0.0
    for near, far in pairwise(radii):
        sides = []
        for sign in (1, -1):
            with moved(net, (sign * float(far), direction)):
                sides.append(loss_of(net))
        height = sum(sides) / 2 - start
        if height > rise:
            return float(near + (far - near) * (rise - before) / (height - before))
        before = height
    return float(radii[-1])


@dataclass(frozen=True)
class Curvature(Job):
    """Numbers (b), (d) and (e) of flatness: width of the basin along `directions` random directions (those of :class:`Flatness`), largest
    eigenvalue of the Hessian by the weights, gradient by the images; each of the clean and of the adversarial loss."""

    kind: ClassVar[str] = "curvature"

    run: Train | Pinned
    attack: PGD
    directions: int = 10
    images: int = 250
    iterations: int = 50
    checkpoint: str = "final"

    def check(self) -> None:
        for name in ("directions", "images", "iterations"):
            within(f"Curvature.{name}", getattr(self, name), 1)

    def label(self) -> str:
        return f"curvature of {unpinned(self.run).label()}"

    def passes(self) -> int:
        """Forward and backward passes of one image, at most."""
        return self.images * (2 * self.attack.steps + 2 * (2 * len(RADII) * self.directions + 6 * self.iterations))


def run_curvature(job: Curvature, context: Context) -> Output:
    """Eigenvalue, mean width over directions and input gradient of both losses, and every direction's width as arrays."""
    net, x, y, seed = centre(job.run, job.checkpoint, job.images, context)
    net.eval()
    directions = [random_direction(net, generator(context.task.seed, f"direction/{k}")) for k in range(job.directions)]
    weights = [w for w in net.parameters() if w.ndim > 1]
    results, arrays = {"images": len(x)}, {}
    for name, images in (("clean", x), ("adversarial", attacked(net, x, y, job.attack, seed))):
        widths = np.array([basin_width(net, lambda n, i=images: mean_loss(n, i, y), d) for d in directions])
        rng = generator(context.task.seed, "curvature")
        top = largest_eigenvalue(lambda i=images: cross_entropy(net(i), y).mean(), weights, rng, iterations=job.iterations)
        results[name] = {"largest_eigenvalue": top, "input_gradient": input_gradient(net, images, y), "basin_width": float(widths.mean())}
        arrays[name] = widths.astype(np.float32)
    return Output(results=results, arrays=arrays)
