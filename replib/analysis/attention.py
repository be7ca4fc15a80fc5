"""Where a network looks: Grad-CAM and SmoothGrad maps of its own adversarial images, and how concentrated they are.

Shapes: x (B, C, H, W) floats in [0, 1], classes (B,) indices, maps (B, H, W) floats in [0, 1]. Networks are evaluated in eval().
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from replib.attacks import PGD
from replib.attacks.pgd import attacking, perturb
from replib.data.augment import to_float
from replib.data.load import load
from replib.spec import Job, Pinned, ReplibError, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import trained
from replib.training.spec import Train
from replib.training.state import generator

BATCH = 100
SHOWN = 8
"""Images whose maps are kept for the page."""


def last_layer(net: nn.Module) -> nn.Module:
    """The layer that Grad-CAM looks at: the last residual or dense stage, in a plain network the last convolution.

    In a pre-activation network its output precedes the final batch normalisation and ReLU.
    """
    if hasattr(net, "stages"):
        return net.stages[-1]
    if hasattr(net, "names"):
        return getattr(net, net.names[-1])
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        raise ReplibError("Grad-CAM needs a map with rows and columns, and this network has no convolution; choose another architecture.")
    return convolutions[-1]


def stretched(maps: Tensor) -> Tensor:
    """Each map (B, H, W) from its smallest value to its largest as [0, 1]. A flat map becomes 1, and one of zeros stays 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny), (maps > 0).to(maps))


def grad_cam(net: nn.Module, layer: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of `classes` at the output of `layer`, as large as the images: (B, H, W) in [0, 1].

    ReLU(Σ_k α_k A_k) with α_k the mean over pixels of ∂z_c/∂A_k, enlarged bilinearly and stretched.
    """
    from captum.attr import LayerAttribution, LayerGradCam  # here, since importing it takes a second

    with attacking(net, "eval"):
        coarse = LayerGradCam(net, layer).attribute(x.detach().clone().requires_grad_(True), classes, relu_attributions=True)
    return stretched(LayerAttribution.interpolate(coarse.detach(), tuple(x.shape[2:]), "bilinear")[:, 0])


def smooth_grad(net: nn.Module, x: Tensor, classes: Tensor, rng: torch.Generator, *, samples: int = 50, noise: float = 0.15) -> Tensor:
    """SmoothGrad (Smilkov et al., 2017) of the logit of `classes`: (B, H, W) in [0, 1].

    The mean of ∂z_c/∂x over `samples` copies of an image with Gaussian noise of `noise` times its range of values; absolute values,
    mean over channels, cut at the 99th percentile of the map and stretched. The noise is drawn from `rng`, on the CPU.
    """
    from captum.attr import Saliency

    saliency = Saliency(net)
    sigma = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    total = torch.zeros_like(x)
    with attacking(net, "eval"):
        for _ in range(samples):
            noisy = x + sigma * torch.randn(x.shape, generator=rng).to(x)
            total += saliency.attribute(noisy.detach().requires_grad_(True), classes, abs=False).detach()
    maps = (total / samples).abs().mean(1)
    top = torch.quantile(maps.flatten(1), 0.99, dim=1)[:, None, None]
    return stretched(maps.minimum(top))


def entropy(maps: Tensor) -> Tensor:
    """Entropy of each map as a distribution over its pixels, over its largest value log(HW): (B,), 0 one pixel, 1 uniform.

    A map of zeros has none: NaN.
    """
    p = maps.double().flatten(1)
    p = p / p.sum(1, keepdim=True)
    return -torch.xlogy(p, p).sum(1) / np.log(p.shape[1])


def half_area(maps: Tensor) -> Tensor:
    """Share of the pixels of each map with at least half its largest value: (B,). A map of zeros has none: NaN."""
    top = maps.amax((1, 2), keepdim=True)
    share = (maps >= top / 2).double().mean((1, 2))
    return torch.where(top[:, 0, 0] > 0, share, torch.nan)


def on_object(maps: Tensor, mask: Tensor) -> Tensor:
    """Share of each map's mass on the object minus the object's share of the pixels: (B,), 0 for a uniform map.

    `mask` (B, H, W): True on the object. A map of zeros has none: NaN.
    """
    m = maps.double()
    return (m * mask).sum((1, 2)) / m.sum((1, 2)) - mask.double().mean((1, 2))


def numbers(maps: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """The measures of concentration of each map by name; the one on the object only if there is a `mask`."""
    found = {"entropy": entropy(maps), "half_area": half_area(maps)}
    return found if mask is None else found | {"on_object": on_object(maps, mask)}


@dataclass(frozen=True)
class Attention(Job):
    """Grad-CAM and SmoothGrad maps of the first `images` test images of one checkpoint, attacked on the network itself.

    `target`: maps are of the class predicted on the adversarial image, or of the true class. `object_above`: pixels of the *clean* image
    brighter than this belong to the object; None where brightness does not tell it, as in photographs, and the number on the object is
    then left out. `samples` and `noise` are SmoothGrad's: neither number is in A, and its authors advise 50 and 0.1 to 0.2.
    """

    kind: ClassVar[str] = "attention"

    run: Train | Pinned
    attack: PGD
    images: int = 200
    target: Literal["predicted", "true"] = "predicted"
    object_above: float | None = None
    samples: int = 50
    noise: float = 0.15
    checkpoint: str = "final"

    def check(self) -> None:
        within("Attention.images", self.images, 1)
        within("Attention.samples", self.samples, 1)
        within("Attention.noise", self.noise, 0)
        if self.object_above is not None:
            within("Attention.object_above", self.object_above, 0, 1)

    def label(self) -> str:
        return f"attention of {unpinned(self.run).label()}"

    def passes(self) -> int:
        """Forward and backward passes of one image: the attack, two predictions, Grad-CAM, and a gradient a sample."""
        return self.images * (2 * self.attack.steps + 4 + 2 * self.samples)


def run_attention(job: Attention, context: Context) -> Output:
    """Means over the images with a map, how many have none, accuracy on the adversarial images; pictures and maps of the first few."""
    task = context.parent(job.run)
    split = load(task.job.data, context.data_root, context.device)
    net = trained(context, task, job.checkpoint, split)
    layer = last_layer(net)
    n = min(job.images, len(split.test))
    x, y = to_float(split.test.x[:n]), split.test.y[:n]
    starts, noise = (generator(context.task.seed, f"attention/{purpose}") for purpose in ("attack", "noise"))
    images, predicted, maps = [], [], {"attention": [], "saliency": []}
    for xb, yb in zip(x.split(BATCH), y.split(BATCH), strict=True):
        shown = perturb(net, xb, yb, job.attack, starts)
        with torch.no_grad():
            guess = net(shown).argmax(1)
        classes = guess if job.target == "predicted" else yb
        images.append(shown.cpu())
        predicted.append(guess.cpu())
        maps["attention"].append(grad_cam(net, layer, shown, classes).cpu())
        maps["saliency"].append(smooth_grad(net, shown, classes, noise, samples=job.samples, noise=job.noise).cpu())
        context.progress(sum(map(len, images)), n)
    y, guesses = y.cpu(), torch.cat(predicted)
    mask = None if job.object_above is None else (x.cpu().mean(1) > job.object_above)
    results = {"images": n, "accuracy": 100 * (guesses == y).double().mean().item()}
    arrays = {"clean": x[:SHOWN].cpu().half().numpy(), "images": torch.cat(images)[:SHOWN].half().numpy()}
    arrays |= {"predicted": guesses[:SHOWN].numpy(), "true": y[:SHOWN].numpy()}
    for kind, parts in maps.items():
        whole = torch.cat(parts)
        found = numbers(whole, mask)
        results[f"{kind}_empty"] = int(found["entropy"].isnan().sum())
        results |= {f"{kind}_{k}": v.nanmean().item() for k, v in found.items() if not v.isnan().all()}
        arrays[kind] = whole[:SHOWN].half().numpy()
    return Output(results=results, arrays=arrays)
