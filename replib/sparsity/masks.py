"""Masks: which weights exist. ``dict[str, BoolTensor]`` by parameter name, True where a weight is kept.

All selections keep an exact number of weights and break ties by position, lower flat index first: threshold rules
mis-count by one, and by thousands where scores are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from replib.spec import ReplibError, within

Masks = dict[str, Tensor]


def _order(score: Tensor, descending: bool) -> Tensor:
    flat = score.detach().flatten()
    if torch.isnan(flat).any():
        raise ReplibError("Scores contain NaN, so weights cannot be ranked; look for diverged training or a zero division.")
    return torch.sort(flat, descending=descending, stable=True).indices


def _check_count(k: int, available: int) -> None:
    if not 0 <= k <= available:
        raise ReplibError(f"{k} entries were asked for but {available} are there; give a count from 0 to {available}.")


def keep_top(scores: Tensor, k: int) -> Tensor:
    """Mask of the shape of `scores` with exactly `k` ones at the largest scores, ties by lower flat index."""
    _check_count(k, scores.numel())
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[_order(scores, descending=True)[:k]] = True
    return mask.view(scores.shape)


def select_smallest(score: Tensor, eligible: Tensor, k: int) -> Tensor:
    """Mask with exactly `k` ones: the `eligible` entries of smallest `score`, ties by lower flat index."""
    where = eligible.flatten().nonzero().squeeze(1)
    _check_count(k, len(where))
    mask = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
    mask[where[_order(score.flatten()[where], descending=False)[:k]]] = True
    return mask.view(score.shape)


def select_largest(score: Tensor, eligible: Tensor, k: int) -> Tensor:
    """Mask with exactly `k` ones: the `eligible` entries of largest `score`, ties by lower flat index."""
    return select_smallest(-score, eligible, k)


def _pooled(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors.values()])


def _split(flat: Tensor, like: Mapping[str, Tensor | Sequence[int]]) -> Masks:
    shapes = {name: tuple(t.shape) if isinstance(t, Tensor) else tuple(t) for name, t in like.items()}
    parts = flat.split([int(np.prod(shape)) for shape in shapes.values()])
    return {name: part.clone().view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def global_top(scores: Mapping[str, Tensor], density: float, *, paper_compat_threshold: bool = False) -> Masks:
    """Masks that keep the round(density * N) largest of all N scores, pooled over layers.

    With `paper_compat_threshold` the rule of the official code of Sparsity Winning Twice: keep what exceeds the score
    of rank int((1 - density) * N) from below, which keeps one weight less and drops all ties with it.
    """
    within("density", density, 0, 1)
    pooled = _pooled(scores)
    if paper_compat_threshold:
        rank = min(int((1 - density) * len(pooled)), len(pooled) - 1)
        return _split(pooled > torch.sort(pooled).values[rank], scores)
    return _split(keep_top(pooled, round(density * len(pooled))), scores)


def global_prune(scores: Mapping[str, Tensor], masks: Masks, k: int) -> Masks:
    """`masks` without the `k` active weights of smallest score, pooled over layers. The result is nested in `masks`."""
    active = _pooled(masks)
    return _split(active & ~select_smallest(_pooled({n: scores[n] for n in masks}), active, k), masks)


def layerwise_top(scores: Mapping[str, Tensor], counts: Mapping[str, int]) -> Masks:
    """Masks that keep the `counts[name]` largest scores of each layer."""
    return {name: keep_top(score, counts[name]) for name, score in scores.items()}


def random_masks(shapes: Mapping[str, Sequence[int]], counts: Mapping[str, int], generator: torch.Generator) -> Masks:
    """Masks with exactly `counts[name]` ones at random positions of each layer, drawn in the order of `shapes`."""
    return {name: _random(tuple(shape), counts[name], generator) for name, shape in shapes.items()}


def global_random(shapes: Mapping[str, Sequence[int]], density: float, generator: torch.Generator) -> Masks:
    """Masks that keep a uniformly random subset of round(density * N) of all N weights. CPU tensors."""
    within("density", density, 0, 1)
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    return _split(_random((total,), round(density * total), generator), shapes)


def _random(shape: tuple[int, ...], k: int, generator: torch.Generator) -> Tensor:
    n = int(np.prod(shape))
    _check_count(k, n)
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=generator)[:k]] = True
    return mask.view(shape)


def shuffle_layerwise(masks: Masks, generator: torch.Generator) -> Masks:
    """Masks with the counts of each layer at random positions (control for saliency methods)."""
    return {name: _random(tuple(m.shape), int(m.sum()), generator).to(m.device) for name, m in masks.items()}


def shuffle_global(masks: Masks, generator: torch.Generator) -> Masks:
    """Masks with the total count of `masks` at random positions of all layers pooled."""
    flat = _random((size(masks),), sum(counts(masks).values()), generator)
    return {name: m.to(masks[name].device) for name, m in _split(flat, masks).items()}


def full(params: Mapping[str, Tensor]) -> Masks:
    """Masks of ones in the shapes of `params`."""
    return {name: torch.ones_like(p, dtype=torch.bool, requires_grad=False) for name, p in params.items()}


def size(masks: Masks) -> int:
    """Number of weights that `masks` speak about."""
    return sum(m.numel() for m in masks.values())


def counts(masks: Masks) -> dict[str, int]:
    """Weights kept in each layer."""
    return {name: int(m.sum()) for name, m in masks.items()}


def density(masks: Masks) -> float:
    """Share of weights kept, all layers pooled."""
    return sum(counts(masks).values()) / size(masks)


def _same_layers(a: Masks, b: Masks) -> None:
    shapes = [{name: tuple(m.shape) for name, m in masks.items()} for masks in (a, b)]
    if shapes[0] != shapes[1]:
        raise ReplibError("Two masks of different layers or shapes cannot be compared; take both from the same net and scope.")


def hamming(a: Masks, b: Masks) -> int:
    """Number of positions where `a` and `b` differ."""
    _same_layers(a, b)
    return sum(int((a[name] != b[name]).sum()) for name in a)


def relative_hamming(a: Masks, b: Masks) -> float:
    """Share of positions where `a` and `b` differ: 0 if equal; the distance that Robust Bird watches."""
    return hamming(a, b) / size(a)


def iou(a: Masks, b: Masks) -> float:
    """Intersection over union of the kept weights, 1 if both are empty: Double-Win's "relative similarity"."""
    _same_layers(a, b)
    both = sum(int((a[name] & b[name]).sum()) for name in a)
    either = sum(int((a[name] | b[name]).sum()) for name in a)
    return both / either if either else 1.0


def chance_similarity(density_a: float, density_b: float) -> float:
    """Expected Hamming similarity of two independent random masks."""
    return density_a * density_b + (1 - density_a) * (1 - density_b)


def chance_iou(density_a: float, density_b: float) -> float:
    """Intersection over union of two large independent random masks: d / (2 - d) at equal density d."""
    both = density_a * density_b
    either = density_a + density_b - both
    return both / either if either else 1.0


def layered_chance_iou(a: Mapping[str, int], b: Mapping[str, int], sizes: Mapping[str, int]) -> float:
    """The same of masks that keep `a` and `b` of the `sizes` weights of each layer: masks that agree about layers alone are more alike than
    their density says."""
    both = sum(a[n] * b[n] / size for n, size in sizes.items())
    either = sum(a.values()) + sum(b.values()) - both
    return both / either if either else 1.0


@torch.no_grad()
def project_(params: Mapping[str, Tensor], masks: Masks, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Zero, in place, the weights that `masks` remove and what `optimizer` remembers of them (momentum, Adam's moments).

    To be called after every optimizer step: momentum left behind would revive a removed weight one step later. All layers go in
    one multi-tensor multiplication.
    """
    pairs = []
    for name, mask in masks.items():
        weight = params[name]
        pairs.append((weight, mask))
        pairs += [(t, mask) for t in buffers_like(weight, optimizer)]
    if pairs:
        torch._foreach_mul_([t for t, _ in pairs], [m for _, m in pairs])


def buffers_like(weight: Tensor, optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    """What `optimizer` remembers of `weight` in the weight's own shape; empty before its first step."""
    remembered = optimizer.state.get(weight, {}) if optimizer is not None else {}
    return [t for t in remembered.values() if isinstance(t, Tensor) and t.shape == weight.shape]


def pack(masks: Masks) -> dict[str, np.ndarray]:
    """`masks` as bits, eight to a byte (uint8 arrays), for storage."""
    return {name: np.packbits(m.detach().cpu().numpy().ravel()) for name, m in masks.items()}


def unpack(packed: Mapping[str, np.ndarray], shapes: Mapping[str, Iterable[int]]) -> Masks:
    """Masks on the CPU from :func:`pack`ed bits and the layers' shapes."""
    out = {}
    for name, bits in packed.items():
        shape = tuple(shapes[name])
        n = int(np.prod(shape))
        if len(bits) != -(-n // 8):
            raise ReplibError(f"Packed mask {name} holds {len(bits)} bytes, which is not a mask of shape {shape}; redo its job.")
        out[name] = torch.from_numpy(np.unpackbits(bits, count=n).astype(bool)).view(shape)
    return out
