"""Pruning whole channels of a trained network: filter pruning and network slimming, one shot (B, Section 4.1)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from replib.methods.tickets import Rule, Scene
from replib.sparsity.masks import Masks, keep_top
from replib.sparsity.structure import Channels, Kept, as_masks, channels, kept_channels, parameters, removed
from replib.spec import Pinned, ReplibError
from replib.training.networks import trained
from replib.training.spec import Train, check_checkpoint


@dataclass(frozen=True)
class Structured(Rule, ABC):
    """Channels of a trained run, chosen by a subclass. The ticket's density is the share of channels that stay.

    Under the masks a network computes what the really smaller one computes (:func:`replib.sparsity.structure.removed`), so every run,
    attack and analysis that knows masks works; the counts of the smaller network are recorded with the ticket.
    """

    structured: ClassVar[bool] = True

    run: Train | Pinned
    checkpoint: str = "final"

    def check(self) -> None:
        check_checkpoint(f"{type(self).__name__}.checkpoint", self.checkpoint)

    @abstractmethod
    def choose(self, scene: Scene, sets: Sequence[Channels], weights: dict[str, Tensor]) -> Kept:
        """Boolean vectors by normalisation: which of its channels stay."""

    def draw(self, scene: Scene) -> Masks:
        source = trained(scene.context, scene.context.parent(self.run), self.checkpoint, scene.split)
        sets = channels(scene.job.net, scene.split.classes, tuple(scene.split.shape))
        kept = self.choose(scene, sets, {n: p.detach().cpu() for n, p in source.named_parameters()})
        return as_masks(sets, kept, scene.shapes)

    def facts(self, scene: Scene, masks: Masks) -> dict[str, Any]:
        """Channels that stay behind each normalisation, and all parameters of the smaller network."""
        sets = channels(scene.job.net, scene.split.classes, tuple(scene.split.shape))
        kept = kept_channels(sets, masks)
        small = removed(scene.net, sets, kept)
        return {"channels": {n: int(k.sum()) for n, k in kept.items()}, "parameters": parameters(small)}


@dataclass(frozen=True)
class FilterPruning(Structured):
    """In every convolution alike, the filters of largest L1 norm (FP; Li et al., ICLR 2017): floor(C (1 - p)) of C stay.

    Residual networks lose filters only inside their blocks, where nothing else reads them. Not defined for DenseNets, all of whose later
    layers read every filter.
    """

    def choose(self, scene: Scene, sets: Sequence[Channels], weights: dict[str, Tensor]) -> Kept:
        if scene.job.net.family == "dense":
            raise ReplibError(
                "Filter pruning is not defined for a DenseNet: all later layers read every filter (B, Section 4.1). Use network slimming."
            )
        kept = {}
        for c in sets:
            norms = weights[c.made_by].abs().sum((1, 2, 3)) if c.made_by else torch.ones(c.size)
            kept[c.norm] = keep_top(norms, max(1, math.floor(c.size * scene.density + 1e-9)) if c.made_by else c.size)
        return kept


@dataclass(frozen=True)
class NetworkSlimming(Structured):
    """The channels of largest |γ| of batch normalisation, pooled over layers (NS; Liu et al., ICCV 2017).

    Raises :class:`~replib.spec.ReplibError` where a layer would lose all its channels, with the largest ratio that leaves one: the reason
    why cells of B's Table 1 are empty. With `keep_one` such a layer keeps its largest channel instead.
    """

    keep_one: bool = False

    def choose(self, scene: Scene, sets: Sequence[Channels], weights: dict[str, Tensor]) -> Kept:
        scales = {c.norm: weights[f"{c.norm}.weight"].abs() for c in sets}
        gone = sum(c.size for c in sets) - round(scene.density * sum(c.size for c in sets))
        most = most_channels(scales)
        if gone > most and not self.keep_one:
            whole = sum(len(s) for s in scales.values())
            raise ReplibError(
                f"Network slimming to {scene.density:g} of the channels would remove a layer; at most {most} of {whole} channels can go "
                f"here. Give a density of at least {math.ceil(1e4 * (1 - most / whole)) / 1e4:g}, or slimming's penalty in the base run."
            )
        flat = keep_top(torch.cat(list(scales.values())), sum(map(len, scales.values())) - gone)
        kept = dict(zip(scales, flat.split([len(s) for s in scales.values()]), strict=True))
        return {n: k if k.any() else keep_top(scales[n], 1) for n, k in kept.items()}


def most_channels(scales: dict[str, Tensor]) -> int:
    """How many channels can be removed in the order of their scales before some layer is left with none (Liu et al., 2017)."""
    flat = torch.cat(list(scales.values()))
    order = torch.empty(len(flat), dtype=torch.long)
    order[torch.sort(flat, descending=True, stable=True).indices.flip(0)] = torch.arange(len(flat))
    return min(int(part.max()) for part in order.split([len(s) for s in scales.values()]))
