"""How the weights of a trained network are distributed: histograms and numbers for "closer to zero" (B, Figures 2 to 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from replib.data.load import load
from replib.models.build import prunable
from replib.sparsity.structure import channels
from replib.spec import Job, Pinned, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import ticket_masks, trained
from replib.training.spec import Train, check_checkpoint

THRESHOLDS = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Weights(Job):
    """Distribution of the convolutions' weights at `checkpoint`, as they are and with batch normalisation folded in.

    Batch normalisation makes the scale of a filter arbitrary: multiplied by a constant it computes the same. Folded weights, multiplied
    by γ / sqrt(variance + eps) of the normalisation that reads the filter's output, have a scale that means something; the folded
    numbers are those of the convolutions that one follows, in pre-activation networks the first of each block. Pruned weights are
    counted and left out. The histogram has `bins` bins on [-limit, limit], as B draws it, and half of them on the whole range.
    """

    kind: ClassVar[str] = "weights"

    run: Train | Pinned
    checkpoint: str = "best_sum"
    limit: float = 0.02
    bins: int = 200

    def check(self) -> None:
        check_checkpoint("Weights.checkpoint", self.checkpoint)
        within("Weights.limit", self.limit, 0, low_open=True)
        within("Weights.bins", self.bins, 2)

    def label(self) -> str:
        return f"weights of {unpinned(self.run).label()}"


def folded(net: nn.Module, made: dict[str, str]) -> dict[str, torch.Tensor]:
    """The convolutions' weights by name; those in `made` (weight -> the normalisation of its output) with its scale in them."""
    found = {}
    for name, w in prunable(net, "conv").items():
        w = w.detach()
        if name in made:
            norm = net.get_submodule(made[name])
            w = w * (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().view(-1, 1, 1, 1)
        found[name] = w
    return found


def numbers(w: np.ndarray) -> dict[str, float]:
    """Statistics of weights (n,), n > 0, in float64.

    mean_abs: mean of |w|. rms: root of the mean square. sqrt_mean: mean of sqrt|w| (p = 1/2). max_abs. near_zero_<t>: share of |w| < t.
    gini: of magnitudes, 0 if all are equal. hoyer: (sqrt(n) - |w|_1 / |w|_2) / (sqrt(n) - 1), 0 for equal magnitudes and 1 for a single
    non-zero weight (Hoyer, JMLR 2004). kurtosis: 3 for a normal law.
    """
    w = w.astype(np.float64)
    n, size = len(w), np.sort(np.abs(w))
    total, square = size.sum(), np.square(size).sum()
    centred = w - w.mean()
    variance = np.square(centred).mean()
    return {
        "mean_abs": float(total / n),
        "rms": float(np.sqrt(square / n)),
        "sqrt_mean": float(np.sqrt(size).mean()),
        "max_abs": float(size[-1]),
        **{f"near_zero_{t:g}": float((size < t).mean()) for t in THRESHOLDS},
        "gini": float((2 * np.arange(1, n + 1) - n - 1) @ size / (n * total)) if total else 0.0,
        "hoyer": float((np.sqrt(n) - total / np.sqrt(square)) / (np.sqrt(n) - 1)) if n > 1 and square else 0.0,
        "kurtosis": float(np.power(centred, 4).mean() / variance**2) if variance else 0.0,
    }


def run_weights(job: Weights, context: Context) -> Output:
    """Numbers pooled over the network, raw and folded; numbers by layer; histograms with what falls outside."""
    parent = context.parent(job.run)
    split = load(parent.job.data, context.data_root, context.device)
    net = trained(context, parent, job.checkpoint, split).cpu()
    masks = ticket_masks(context.store, parent, net) if parent.job.ticket else {}
    made = {c.made_by: c.norm for c in channels(parent.job.net, split.classes, tuple(split.shape)) if c.made_by}
    results, layers, arrays = {}, {}, {}
    scaled = {n: w for n, w in folded(net, made).items() if n in made}
    for name, weights in (("raw", folded(net, {})), ("folded", scaled)):
        alive = {n: w[masks[n]] if n in masks else w.flatten() for n, w in weights.items()}
        pooled = torch.cat(list(alive.values())).numpy()
        results[name] = numbers(pooled)
        layers[name] = {n: numbers(w.numpy()) for n, w in alive.items() if len(w)}
        inside, edges = np.histogram(pooled, bins=job.bins, range=(-job.limit, job.limit))
        wide, wide_edges = np.histogram(pooled, bins=job.bins // 2)
        arrays |= {f"{name}/counts": inside, f"{name}/edges": edges, f"{name}/wide_counts": wide, f"{name}/wide_edges": wide_edges}
        results[name]["outside"] = len(pooled) - int(inside.sum())
    everything = {n: w.numel() for n, w in prunable(net, "conv").items()}
    pruned = sum(int((~m).sum()) for n, m in masks.items() if n in everything)
    counts = {"weights": sum(everything.values()) - pruned, "pruned": pruned}
    return Output(results=results | counts | {"layers": layers}, arrays=arrays)
