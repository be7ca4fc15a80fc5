"""Dynamic network surgery (Guo et al., NeurIPS 2016), which D's Figure 1 sets against neural tangent transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from replib.data.augment import to_float
from replib.methods.mask_search import Goal, Search
from replib.sparsity.masks import Masks, full
from replib.spec import SpecError, within


@dataclass(frozen=True)
class Surgery(Goal):
    """Natural training during which weights are cut and spliced back; all of them keep learning from the gradient of mask times weight.

    At a surgery an active weight of a layer is cut where |w| is at most (1 - `margin`) times the layer's threshold, a pruned one is
    spliced in where it exceeds (1 + `margin`) times that, and in between nothing changes. Surgeries happen after step i with probability
    (1 + `slowing` i)^-`power`, while less than the share `until` of the search is done. The threshold is the largest |w| that the density
    leaves out, and the first mask keeps exactly the largest; with `c` it is the mean plus c standard deviations of |w| of the initial
    weights, as published. The search ends exactly at the density: active weights before pruned ones, and of these the largest.

    Departs: the published rule has no density; a quantile steers to one, which D's "pruning rate of 0.02" must be.
    Departs: biases are not pruned, as in the methods that it is compared with.
    """

    version: ClassVar[int] = 2  # starts at the density, and ends with weights that were computed with
    straight_through: ClassVar[bool] = True

    margin: float = 0.1
    c: float | None = None
    slowing: float = 1e-4
    power: float = 1.0
    until: float = 1.0

    def check(self) -> None:
        within("Surgery.margin", self.margin, 0, 1, high_open=True)
        within("Surgery.slowing", self.slowing, 0)
        within("Surgery.power", self.power, 0)
        within("Surgery.until", self.until, 0, 1)
        if self.c is not None and not -100 <= self.c <= 100:
            raise SpecError(f"Surgery.c = {self.c!r} is not allowed; give standard deviations, such as 4, or None.")

    def begin(self, s: Search) -> Masks:
        s.memory["luck"] = s.random("surgery")
        if self.c is None:
            return s.largest()
        s.memory["thresholds"] = {n: _published(w.detach().abs(), self.c) for n, w in s.weights.items()}
        return operate({n: w.detach() for n, w in s.weights.items()}, full(s.weights), self._thresholds(s), self.margin)

    def minimise(self, s: Search, index: Tensor) -> float:
        s.student.train()
        loss = F.cross_entropy(s.model(to_float(s.split.train.x[index])), s.split.train.y[index])
        loss.backward()
        return loss.item()

    def revise(self, s: Search) -> Masks | None:
        lucky = torch.rand((), generator=s.memory["luck"]).item() < (1 + self.slowing * s.step) ** -self.power
        if not lucky or s.step >= self.until * s.steps:
            return None
        return operate({n: w.detach() for n, w in s.weights.items()}, s.masks, self._thresholds(s), self.margin)

    def finish(self, s: Search) -> Masks:
        return s.largest(active_first=True)

    def _thresholds(self, s: Search) -> dict[str, Tensor]:
        if self.c is not None:
            return s.memory["thresholds"]
        kept = s.largest()
        return {n: torch.where(kept[n], 0.0, w.detach().abs()).max() for n, w in s.weights.items()}


def _published(magnitudes: Tensor, c: float) -> Tensor:
    there = magnitudes[magnitudes > 0]
    return (there.mean() + c * there.std()).clamp(min=0)


def operate(weights: dict[str, Tensor], masks: Masks, thresholds: dict[str, Tensor], margin: float) -> Masks:
    """`masks` after one surgery: cut at (1 - margin) times the threshold or below, splice above (1 + margin) times it."""
    after = {}
    for name, mask in masks.items():
        magnitude, t = weights[name].abs(), thresholds[name]
        after[name] = torch.where(mask, magnitude > (1 - margin) * t, magnitude > (1 + margin) * t)
    return after
