"""Theorem 2 of B made executable: a product of layer norms bounds the local Lipschitz constant of a ReLU network's score differences.

For 1/p + 1/q = 1 and a multi-layer perceptron with weights W_1 ... W_d, the gradient of g_y - g_k anywhere has a q-norm of at most
|w_y - w_k|_q times the product of the norms of the maps x -> W_j x that p induces. Two words of the theorem matter: the norms must be
*induced*, since the largest entry, which "p = infinity" may suggest, is no bound; and its ball is one around x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from replib.attacks.distortion import LARGEST, PIXEL, least_distortion
from replib.attacks.pgd import attacking
from replib.data.augment import to_float
from replib.data.load import load
from replib.spec import Job, Pinned, SpecError, stream_seed, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import trained
from replib.training.spec import Train, check_checkpoint

Norm = Literal["l2", "linf"]


def induced(weight: Tensor, norm: Norm) -> float:
    """Largest |W x| over |x|, both in `norm`, of `weight` (out, in): its spectral norm, or the largest sum of magnitudes of a row."""
    w = weight.detach().double()
    return float(torch.linalg.matrix_norm(w, 2) if norm == "l2" else w.abs().sum(1).max())


def dual(vectors: Tensor, norm: Norm) -> Tensor:
    """The dual norm of each row of `vectors` (B, ...): l2 for l2, l1 for l-infinity."""
    return torch.linalg.vector_norm(vectors.flatten(1), 2 if norm == "l2" else 1, dim=1)


def factors(weights: Sequence[Tensor], norm: Norm) -> list[float]:
    """Induced norms of all layers but the last, whose part in the bound depends on the two classes."""
    return [induced(w, norm) for w in weights[:-1]]


def pair_bounds(weights: Sequence[Tensor], norm: Norm) -> Tensor:
    """The bound on the Lipschitz constant of g_y - g_k for all pairs of classes, (K, K) with zeros on the diagonal (B, equation 3)."""
    last = weights[-1].detach().double()
    classes = len(last)
    differences = (last[:, None] - last[None]).reshape(classes * classes, -1)
    return dual(differences, norm).view(classes, classes) * math.prod(factors(weights, norm))


def measured(net: nn.Module, x: Tensor, radius: float, norm: Norm, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Predicted classes (B,) and the largest dual norm of the gradient of g_y - g_k met at `samples` points of the ball around each image,
    (B, K) with zeros where k is the predicted class: from below, what :func:`pair_bounds` bounds from above.

    Half of the points are drawn inside the ball, half on its surface in the direction of another class, each in turn. The gradient of a
    ReLU network is piecewise constant, so that ascending its norm is no option.
    """
    with attacking(net, "eval"):
        with torch.no_grad():
            predicted = net(x).argmax(1)
        classes = net(x[:1]).shape[1]
        largest = x.new_zeros(len(x), classes, dtype=torch.float64)
        for n in range(samples):
            at = (x + radius * _in_ball(x, norm, generator)) if n else x
            gradients = _difference_gradients(net, at, predicted, classes)
            if n % 2:
                other = (predicted + 1 + n // 2 % (classes - 1)) % classes
                chosen = gradients[torch.arange(len(x)), other]
                towards = chosen.sign() if norm == "linf" else _unit(chosen)
                gradients = _difference_gradients(net, x - radius * towards, predicted, classes)
            norms = torch.stack([dual(gradients[:, k].double(), norm) for k in range(classes)], 1)
            largest = torch.maximum(largest, norms)
    return predicted, largest


def _difference_gradients(net: nn.Module, x: Tensor, y: Tensor, classes: int) -> Tensor:
    """Gradients of g_y - g_k by the images for every class k, (B, K, ...)."""
    x = x.detach().requires_grad_(True)
    logits = net(x)
    own = logits.gather(1, y[:, None]).squeeze(1)
    found = [torch.autograd.grad((own - logits[:, k]).sum(), x, retain_graph=k < classes - 1)[0] for k in range(classes)]
    return torch.stack(found, 1)


def _unit(v: Tensor) -> Tensor:
    return v / v.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, *[1] * (v.dim() - 1))


def _in_ball(x: Tensor, norm: Norm, generator: torch.Generator) -> Tensor:
    """Points drawn evenly from the unit ball, one for each image."""
    if norm == "linf":
        return torch.rand(x.shape, generator=generator).to(x) * 2 - 1
    length = torch.rand(len(x), generator=generator).to(x) ** (1 / x[0].numel())
    return _unit(torch.randn(x.shape, generator=generator).to(x)) * length.view(-1, *[1] * (x.dim() - 1))


@dataclass(frozen=True)
class NormBound(Job):
    """Theorem 2 on a trained multi-layer perceptron: bound, measured constant, certified and attacked radius on the first `images`.

    `radius` is that of the ball in which the constant is measured, in pixel units of [0, 1]. The network's first layer normalises its
    images, which multiplies the bound by 1 / standard deviation.
    """

    kind: ClassVar[str] = "norm_bound"
    version: ClassVar[int] = 2  # surface points towards other classes only; images without any gradient are counted, not averaged

    run: Train | Pinned
    norm: Norm = "linf"
    checkpoint: str = "best_sum"
    radius: float = 0.1
    images: int = 200
    samples: int = 60
    steps: int = 20

    def check(self) -> None:
        run = unpinned(self.run)
        if run.net.family != "mlp":
            raise SpecError(f"NormBound.run has a {run.net.arch}; the theorem is about multi-layer perceptrons, so give a run of one.")
        check_checkpoint("NormBound.checkpoint", self.checkpoint)
        within("NormBound.radius", self.radius, 0, low_open=True)
        for name, least in (("images", 1), ("samples", 2), ("steps", 1)):
            within(f"NormBound.{name}", getattr(self, name), least)

    def label(self) -> str:
        return f"norm bound ({self.norm}) of {unpinned(self.run).label()}"


def run_norm_bound(job: NormBound, context: Context) -> Output:
    """Factors of the bound and, averaged over images and other classes, log10 of bound and of measured constant (of those above zero, the
    share of the others beside it: around such an image no point was met at which the network depends on it); over correctly classified
    images the radius that the bound certifies and the one at which an attack succeeds, both at most the largest that is tried; the number
    of pairs in which the bound fails. None where there is nothing to average, or nothing left of a layer.
    """
    parent = context.parent(job.run)
    split = load(parent.job.data, context.data_root, context.device)
    net = trained(context, parent, job.checkpoint, split).cpu()
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Linear)]
    scale = 1 / float(net.normalize.std.min())
    x, y = to_float(split.test.x[: job.images].cpu()), split.test.y[: job.images].cpu()
    rng = torch.Generator().manual_seed(stream_seed(context.task.seed, "norm_bound"))
    predicted, constants = measured(net, x, job.radius, job.norm, job.samples, rng)
    context.progress(1, 2)
    bounds = (scale * pair_bounds(weights, job.norm))[predicted]
    with torch.no_grad():
        logits = net(x).double()
    right = predicted == y
    others = torch.ones_like(bounds, dtype=torch.bool).scatter_(1, predicted[:, None], False)
    margins = logits.gather(1, predicted[:, None]) - logits
    largest = LARGEST if job.norm == "linf" else LARGEST * math.sqrt(x[0].numel())
    finite = others & (bounds > 0)  # a network that pruning has cut in two does not depend on its images at all
    certified = torch.where(finite, margins / bounds, torch.inf).amin(1).clamp(max=largest)
    attacked = least_distortion(
        net, x, y, rng, steps=job.steps, norm=job.norm,
        first=largest / 256, largest=largest, tolerance=largest / 1280,
    ).double().clamp(max=largest)  # fmt: skip
    broken = (constants > bounds * (1 + 1e-5)) & others
    return Output(
        results={
            "factors": factors(weights, job.norm),
            "log10_norm_product": _log10(scale * math.prod(factors(weights, job.norm))),
            "log10_bound": _mean(bounds[finite].log10()),
            "log10_measured": _mean(constants[finite & (constants > 0)].log10()),
            "flat_share": _mean((constants[finite] == 0).double()),
            "violations": int(broken.sum()),
            "certified_radius": _mean(certified[right] / PIXEL),
            "attacked_radius": _mean(attacked[right] / PIXEL),
            "certified_above_attacked": int((certified > attacked * (1 + 1e-5))[right & (attacked < largest)].sum()),
            "correct": int(right.sum()),
        },
        arrays={"certified": (certified / PIXEL).numpy().astype(np.float32), "attacked": (attacked / PIXEL).numpy().astype(np.float32)},
    )


def _log10(value: float) -> float | None:
    return math.log10(value) if value > 0 else None


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if values.numel() else None
