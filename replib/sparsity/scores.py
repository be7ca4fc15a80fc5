"""Scores of weights at initialisation or after training: *keep the largest*, whatever sign the paper's own formula has.

Every function takes the prunable weights as ``{parameter name: parameter}`` (or their names) and returns tensors of
the same shapes; none changes the model. Which examples score, and whether they are adversarial, is the caller's
choice: pass the images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from replib.sparsity.masks import global_top

Scores = dict[str, Tensor]


def magnitude(weights: Mapping[str, Tensor]) -> Scores:
    """|w|."""
    return {name: w.detach().abs() for name, w in weights.items()}


def snip(model: nn.Module, weights: Mapping[str, nn.Parameter], x: Tensor, y: Tensor) -> Scores:
    """|w dL/dw|, L the mean cross-entropy of `model` on (x, y): a weight's first-order effect on the loss.

    Lee et al., ICLR 2019, equation 6, without the normalisation, which does not change ranks.

    Departs: the weights of the model itself are scored. The released code scores a copy with freshly drawn weights,
    whose mask then belongs to other weights than those that are trained.
    """
    with _batch_statistics(model):
        loss = F.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    return {name: (w * g).detach().abs() for (name, w), g in zip(weights.items(), gradients, strict=True)}


def grasp(model: nn.Module, weights: Mapping[str, nn.Parameter], x: Tensor, y: Tensor, temperature: float = 200.0) -> Scores:
    """w (H g), g the gradient and H the Hessian of the mean cross-entropy of logits / `temperature` on (x, y).

    Removing a weight changes |g|^2 by -2 w (H g) to first order, so the weights with the *smallest* value are those
    whose removal raises, or least reduces, the gradient norm: they go. Wang et al., ICLR 2020, equation 8, whose S is
    minus this score.

    Departs: as in :func:`snip`, no weight is re-drawn for scoring.
    """
    parameters = list(weights.values())
    with _batch_statistics(model):
        loss = F.cross_entropy(model(x) / temperature, y)
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
        aligned = sum((g.detach() * g).sum() for g in gradients)
        products = torch.autograd.grad(aligned, parameters, materialize_grads=True)
    return {name: (w * h).detach() for (name, w), h in zip(weights.items(), products, strict=True)}


def synflow(model: nn.Module, names: Iterable[str], shape: tuple[int, ...]) -> Scores:
    """One round of synaptic flow, |w| dR/d|w| >= 0 in float64; R: sum of logits for an all-ones image (C, H, W).

    Tanaka et al., NeurIPS 2020. All parameters and buffers enter with their absolute values, biases as zero (they
    leak flow), BatchNorm in eval().
    """
    return _flow(_positive(model), list(names), shape)


def synflow_masks(
    model: nn.Module,
    names: Iterable[str],
    shape: tuple[int, ...],
    density: float,
    iterations: int = 100,
    schedule: Literal["exponential", "linear"] = "exponential",
) -> dict[str, Tensor]:
    """Masks (True: kept) of iterative synaptic flow with exactly round(density * N) weights kept overall.

    Tanaka et al., NeurIPS 2020, algorithm 1: round i of n keeps the share ``density ** (i / n)`` (or ``1 - (1 -
    density) i / n``), by scores of the net as masked so far. ``iterations=1`` is the one-shot variant, which empties
    whole layers at low densities.
    """
    names = list(names)
    net = _positive(model)
    parameters = dict(net.named_parameters())
    masks = {name: torch.ones_like(parameters[name], dtype=torch.bool) for name in names}
    for i in range(1, iterations + 1):
        # A collapsed layer makes every score zero: minus one for what is out keeps masks nested in spite of ties.
        scores = {name: s.masked_fill(~masks[name], -1) for name, s in _flow(net, names, shape).items()}
        share = i / iterations
        masks = global_top(scores, density**share if schedule == "exponential" else 1 - (1 - density) * share)
        with torch.no_grad():
            for name, mask in masks.items():
                parameters[name].mul_(mask)
    return masks


def _positive(model: nn.Module) -> nn.Module:
    net = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.abs_()
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(True)
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
    return net


def _flow(net: nn.Module, names: list[str], shape: tuple[int, ...]) -> Scores:
    parameters = dict(net.named_parameters())
    chosen = [parameters[name] for name in names]
    ones = torch.ones(1, *shape, dtype=torch.float64, device=chosen[0].device)
    gradients = torch.autograd.grad(net(ones).sum(), chosen, materialize_grads=True)
    return {name: (w * g).detach() for name, w, g in zip(names, chosen, gradients, strict=True)}


@contextmanager
def _batch_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm uses the batch and leaves its buffers alone, the rest is as in eval(); flags are restored."""
    flags = [(m, m.training) for m in model.modules()]
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    try:
        model.eval()
        for m in norms:
            m.training, m.track_running_stats = True, False
        with torch.enable_grad():
            yield
    finally:
        for m, training in flags:
            m.training = training
        for m in norms:
            m.track_running_stats = True
