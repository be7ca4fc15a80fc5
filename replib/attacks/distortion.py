"""The smallest radius at which PGD finds an adversarial image, image by image (B, Section 4.1, after Bastani et al., NeurIPS 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from replib.attacks.losses import cross_entropy
from replib.attacks.pgd import attacking

PIXEL = 1 / 255
LARGEST = 64 * PIXEL


def least_distortion(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    *,
    steps: int = 100,
    norm: str = "linf",
    first: float = 0.25 * PIXEL,
    largest: float = LARGEST,
    tolerance: float = 0.05 * PIXEL,
) -> Tensor:
    """Radii (B,) of the smallest ball of `norm` around each image in which PGD succeeded; 0 for images that are misclassified as they are,
    infinite where `largest` does not suffice.

    The radius doubles from `first`, up to `largest`, until the attack succeeds, then the bracket is halved until it is narrower than
    `tolerance`. PGD is not monotone in its radius: the smallest radius that ever succeeded counts. x (B, C, H, W) in [0, 1]; the step is
    max(2.5 / steps, 1 / 8) times the radius, starts are random from `generator`, and an image is broken when any iterate is misclassified.

    Departs: the paper calls it a lower bound; an attack bounds the distance to the decision boundary from above.
    """
    with attacking(model, "eval"):
        with torch.no_grad():
            wrong = model(x).argmax(1) != y
        low, high = x.new_zeros(len(x)), x.new_full((len(x),), torch.inf)
        high[wrong] = 0.0
        radius = 0.0
        while radius < largest and (todo := high.isinf()).any():
            radius = min(max(2 * radius, first), largest)
            _try(model, x, y, todo, x.new_full((len(x),), radius), low, high, steps, norm, generator)
        while (todo := high.isfinite() & (high - low > tolerance)).any():
            _try(model, x, y, todo, (low + high) / 2, low, high, steps, norm, generator)
    return high


def _try(
    model: nn.Module, x: Tensor, y: Tensor, todo: Tensor, radii: Tensor, low: Tensor, high: Tensor, steps: int, norm: str,
    generator: torch.Generator,
) -> None:  # fmt: skip
    """Attack the images `todo` at their own radii and narrow their brackets in place."""
    broken = torch.zeros_like(todo)
    broken[todo] = breaks(model, x[todo], y[todo], radii[todo], steps, norm, generator)
    high[broken] = torch.minimum(high, radii)[broken]
    low[todo & ~broken] = radii[todo & ~broken]


def breaks(model: nn.Module, x: Tensor, y: Tensor, radii: Tensor, steps: int, norm: str, generator: torch.Generator) -> Tensor:
    """Bool (B,): whether PGD of `steps` steps with one radius (B,) an image meets a misclassified one. `model` is in eval()."""
    column = radii.view(-1, *[1] * (x.dim() - 1))
    step = max(2.5 / steps, 1 / 8) * column
    start = torch.rand(x.shape, generator=generator, device=generator.device).to(x) * 2 - 1
    x_adv = _projected(x, start * column, column, norm)
    met = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        logits = model(x_adv)
        met |= logits.argmax(1) != y
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), x_adv)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view_as(column)
        ascent = gradient.sign() if norm == "linf" else gradient / length
        x_adv = _projected(x, x_adv.detach() + step * ascent - x, column, norm)
    with torch.no_grad():
        return met | (model(x_adv).argmax(1) != y)


def _projected(x: Tensor, delta: Tensor, column: Tensor, norm: str) -> Tensor:
    if norm == "linf":
        return (x + torch.minimum(torch.maximum(delta, -column), column)).clamp(0, 1)
    length = delta.flatten(1).norm(dim=1).view_as(column)
    return (x + delta * torch.minimum(column / length.clamp(min=1e-12), torch.ones_like(column))).clamp(0, 1)
