"""What a mask leaves of kernels, filters and channels, and how much two masks share (C, Figures 7 and A8).

A kernel is the spatial slice W[o, i] of a convolution. It is a zero kernel when its mask has no ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from replib.data.load import load
from replib.models.build import build
from replib.sparsity.masks import Masks, chance_iou, density, iou, size
from replib.sparsity.scores import synflow
from replib.spec import Job, Pinned, ReplibError, SpecError, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import ticket_masks
from replib.training.state import generator


def stage(name: str) -> str:
    """The residual stage of a convolution by its parameter's name: "B1" to "B4"; "stem" for the convolution before them."""
    first = name.split(".")[0]
    return f"B{first.removeprefix('layer')}" if first.startswith("layer") else "stem"


def zero_kernels(mask: Tensor) -> Tensor:
    """Bool (out, in): True where the kernel of a convolution's `mask` (out, in, k, k) is all zero."""
    return ~mask.flatten(2).any(2)


def convolutions(masks: Masks) -> Masks:
    """The masks of convolutions among `masks`."""
    return {n: m for n, m in masks.items() if m.ndim == 4}


def kernel_counts(masks: Masks) -> list[dict[str, Any]]:
    """One row for each convolution of `masks`, in their order.

    Keys: layer, stage, side (k), kernels, zero (zero kernels), weights, kept, dead_filters (no weight makes the channel), dead_inputs (no
    weight reads the channel).
    """
    rows = []
    for name, mask in convolutions(masks).items():
        zero = zero_kernels(mask)
        rows.append(
            {
                "layer": name,
                "stage": stage(name),
                "side": mask.shape[-1],
                "kernels": zero.numel(),
                "zero": int(zero.sum()),
                "weights": mask.numel(),
                "kept": int(mask.sum()),
                "dead_filters": int(zero.all(1).sum()),
                "dead_inputs": int(zero.all(0).sum()),
            }
        )
    return rows


def totals(rows: Iterable[Mapping[str, Any]], density: float) -> dict[str, float]:
    """Zero kernels of `rows` in all and of kernels larger than 1x1, and what a uniformly random mask of `density` would have.

    Departs: the paper does not say whether 1x1 convolutions count. Their zero kernels are single weights, so that they only repeat the
    sparsity; both counts are given. Chance is (1 - density)^(k²) a kernel.
    """
    rows = list(rows)
    spatial = [r for r in rows if r["side"] > 1]
    found: dict[str, float] = {}
    for suffix, chosen in (("", spatial), ("_all", rows)):
        found[f"kernels{suffix}"] = sum(r["kernels"] for r in chosen)
        found[f"zero{suffix}"] = sum(r["zero"] for r in chosen)
        found[f"chance{suffix}"] = sum(r["kernels"] * (1 - density) ** (r["side"] ** 2) for r in chosen)
    for dead in ("dead_filters", "dead_inputs"):
        found[dead] = sum(r[dead] for r in rows)
    return found


def heatmap(masks: Masks, columns: int) -> dict[str, np.ndarray]:
    """For each stage of `masks` the share of zero kernels, uint8 (rows, columns), 255 where all are zero: one band of Figure 7.

    The kernels larger than 1x1 of a stage's convolutions, output channels down and input channels across, stacked in forward order. Each
    convolution is averaged over blocks to exactly `columns` columns and at most as many rows; narrow ones are repeated to the width.
    """
    bands: dict[str, list[np.ndarray]] = {}
    for name, mask in convolutions(masks).items():
        if mask.shape[-1] > 1 and stage(name) != "stem":
            zero = zero_kernels(mask).cpu().numpy().astype(np.float64)
            small = _blocks(_blocks(zero, min(columns, len(zero))).T, columns).T
            bands.setdefault(stage(name), []).append(np.rint(255 * small).astype(np.uint8))
    return {s: np.concatenate(parts) for s, parts in bands.items()}


def _blocks(a: np.ndarray, n: int) -> np.ndarray:
    """`a` (rows, columns) with `n` rows: means over blocks of nearly equal size when shrinking, nearest rows repeated when growing."""
    if n >= len(a):
        return a[np.arange(n) * len(a) // n]
    edges = np.arange(n + 1) * len(a) // n
    return np.add.reduceat(a, edges[:-1], axis=0) / np.diff(edges)[:, None]


def effective(net: nn.Module, masks: Masks, shape: tuple[int, ...]) -> int:
    """How many weights that `masks` keep lie on a path from the input to an output; the others carry nothing of the input, at most the
    constant that a bias makes of it. `net` is left as it was.

    A weight is on such a path exactly when synaptic flow through all-ones weights reaches and leaves it, which is computed in float64.
    """
    ones = copy.deepcopy(net)
    with torch.no_grad():
        for name, p in ones.named_parameters():
            p.copy_(masks[name] if name in masks else torch.zeros_like(p) if name.endswith("bias") else torch.ones_like(p))
        for name, b in ones.named_buffers():
            if name.endswith("running_mean"):
                b.zero_()
            elif name.endswith("running_var"):
                b.fill_(1)
    flow = synflow(ones, masks, shape)
    if not all(torch.isfinite(f).all() for f in flow.values()):
        raise ReplibError("The flow through the network overflows, so paths cannot be told; divide its weights by their fan-in first.")
    return sum(int((f > 0).sum()) for f in flow.values())


@dataclass(frozen=True)
class Kernels(Job):
    """Zero kernels, dead channels and effective sparsity of the masks of `tickets` (ticket jobs or runs), and what each two share.

    The tickets must be of one network. `heatmap` columns of each stage's zero kernels are kept for drawing; 0 keeps none.
    """

    kind: ClassVar[str] = "kernels"

    tickets: tuple[Job | Pinned, ...]
    heatmap: int = 0

    def check(self) -> None:
        if not self.tickets:
            raise SpecError("Kernels.tickets is empty; give the ticket jobs whose masks are looked at.")
        within("Kernels.heatmap", self.heatmap, 0)

    @property
    def run(self) -> Job | Pinned:
        """The job whose network all masks are of."""
        return self.tickets[0]

    def passes(self) -> int:
        """Forward passes that the flow through every ticket is worth: there and back, in double precision."""
        return 6 * len(self.tickets)

    def label(self) -> str:
        return f"kernels of {', '.join(unpinned(t).label() for t in self.tickets)}"


def run_kernels(job: Kernels, context: Context) -> Output:
    """Totals of every ticket, a table with a row for each convolution of each, and matrices of overlap (IoU of the weights) and chance."""
    first = context.parent(job.run).job
    split = load(first.data, context.data_root)
    net = build(
        first.net, classes=split.classes, shape=split.shape, mean=split.mean, std=split.std,
        generator=generator(context.task.seed, "init"),
    )  # fmt: skip
    masks, table, found, arrays = [], [], [], {}
    for n, ticket in enumerate(job.tickets):
        mask = ticket_masks(context.store, context.parent(ticket), net)
        masks.append(mask)
        rows = kernel_counts(mask)
        table += [{"ticket": n} | row for row in rows]
        kept = effective(net, mask, split.shape)
        conv = convolutions(mask)
        among = density(conv) if conv else 0.0  # without convolutions there are no kernels to be zero by chance
        stages = {s: totals([r for r in rows if r["stage"] == s], among) for s in dict.fromkeys(r["stage"] for r in rows)}
        whole = {"density": density(mask), "effective_density": kept / size(mask)}
        found.append(whole | totals(rows, among) | {"stages": stages})
        if job.heatmap:
            arrays |= {f"heatmap/{n}/{s}": a for s, a in heatmap(mask, job.heatmap).items()}
        context.progress(n + 1, len(job.tickets))
    pairs = [[(iou(a, b), chance_iou(density(a), density(b))) for b in masks] for a in masks]
    overlap = {name: [[pair[i] for pair in row] for row in pairs] for i, name in enumerate(("iou", "chance_iou"))}
    return Output(results={"tickets": found} | overlap, metrics=table, arrays=arrays)
