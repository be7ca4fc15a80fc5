"""Theoretical cost of sparse networks in floating-point operations. Dense kernels realise none of the savings.

Two accountings:

``exact``: a multiply-add counts as two operations, a convolution costs 2 * nnz * H_out * W_out and a linear layer 2 *
    nnz for an image. Batch norm, activations and pooling are left out. A training update costs 3 forward passes (the
    backward pass is two), an attack step 2, because it needs the gradient of the input only. Costs are integrated over
    training with the masks in force.
``paper``: what reproduces the costs that Sparsity Winning Twice prints, to one unit of the last digit: each convolution
    is also multiplied by its number of output channels, linear layers are free, an attack step costs 3, and a network
    whose masks change is charged for the final ones throughout.

All results are operations (float), not multiply-adds and not scaled by powers of ten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from replib.spec import ReplibError, choose, within

ACCOUNTINGS = ("exact", "paper")

Counts = Mapping[str, int]
History = Sequence[tuple[float, Counts | None]]
"""Weights per layer over training: (share of training at which masks came into force, counts or None for dense)."""


@dataclass(frozen=True)
class LayerSize:
    """What a layer's cost depends on: weights, output channels, output positions (H * W; 1 for linear), kind."""

    weights: int
    channels: int
    positions: int
    conv: bool


def layer_sizes(model: nn.Module, shape: Sequence[int]) -> dict[str, LayerSize]:
    """Sizes of all convolution and linear layers by parameter name, for images of `shape` (C, H, W).

    Measured on one zero image; `model` is left as it was.
    """
    found: dict[str, LayerSize] = {}

    def hook(name: str):
        def note(module: nn.Module, _: object, out: Tensor) -> None:
            conv = isinstance(module, nn.Conv2d)
            positions = out.shape[2] * out.shape[3] if conv else 1
            found[f"{name}.weight"] = LayerSize(module.weight.numel(), out.shape[1], positions, conv)

        return note

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [m.register_forward_hook(hook(name)) for name, m in layers]
    modes = {m: m.training for m in model.modules()}
    weight = next(model.parameters())
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(1, *shape, device=weight.device, dtype=weight.dtype))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return {f"{name}.weight": found[f"{name}.weight"] for name, _ in layers if f"{name}.weight" in found}


def inference_flops(sizes: Mapping[str, LayerSize], nnz: Counts | None = None, accounting: str = "exact") -> float:
    """Operations of a forward pass of one image. `nnz`: weights kept by layer; a layer not named is dense."""
    choose("accounting", accounting, ACCOUNTINGS)
    nnz = nnz or {}
    unknown = [name for name in nnz if name not in sizes]
    if unknown:
        raise ReplibError(f"No layer is called {unknown[0]!r}; count weights by the parameter names of the net that was measured.")
    total = 0
    for name, layer in sizes.items():
        kept = nnz.get(name, layer.weights)
        if not 0 <= kept <= layer.weights:
            raise ReplibError(f"{name} has {layer.weights} weights and cannot keep {kept}; pass counts of this net's masks.")
        if accounting == "exact":
            total += 2 * kept * layer.positions
        elif layer.conv:
            total += 2 * kept * layer.positions * layer.channels
    return float(total)


def passes_per_image(attack_steps: int, accounting: str = "exact") -> int:
    """Forward passes that one image of one update is worth: 3 for the update and for each attack step 2 (exact) or 3 (paper).

    In the paper 33 for PGD-10, 6 for Fast AT and 3 for standard training.
    """
    choose("accounting", accounting, ACCOUNTINGS)
    within("attack_steps", attack_steps, 0)
    return 3 + attack_steps * (2 if accounting == "exact" else 3)


def mean_inference_flops(sizes: Mapping[str, LayerSize], history: History, accounting: str = "exact") -> float:
    """Forward cost of one image: averaged over training (exact), with the final masks (paper)."""
    starts = [start for start, _ in history]
    if not starts or starts[0] != 0 or starts != sorted(starts) or starts[-1] > 1:
        raise ReplibError("A history of masks must start at share 0 and go up to 1 in order; sort its entries by time.")
    if accounting == "paper":
        return inference_flops(sizes, history[-1][1], accounting)
    ends = [*starts[1:], 1.0]
    return sum(
        (end - start) * inference_flops(sizes, nnz, accounting) for (start, nnz), end in zip(history, ends, strict=True) if end > start
    )


def training_flops(
    sizes: Mapping[str, LayerSize],
    nnz: Counts | History | None = None,
    *,
    images: int,
    epochs: float,
    attack_steps: int = 10,
    accounting: str = "exact",
    dense_gradient_images: int = 0,
) -> float:
    """Operations of a training: `epochs` passes over `images` images, without evaluation and scoring of weights.

    nnz: weights kept by layer (static masks), None (dense), or a :data:`History` of them (Flying Bird+).
    dense_gradient_images: images for which gradients of all weights were computed to grow connections (mask updates
        times batch size); each adds one dense minus one sparse forward pass (Evci et al. 2020). Ignored by the paper's
        accounting.
    """
    within("images", images, 0)
    within("epochs", epochs, 0)
    history = [(0.0, nnz)] if nnz is None or isinstance(nnz, Mapping) else nnz
    forward = mean_inference_flops(sizes, history, accounting)
    total = passes_per_image(attack_steps, accounting) * images * epochs * forward
    if accounting == "exact":
        total += dense_gradient_images * (inference_flops(sizes) - forward)
    return total
