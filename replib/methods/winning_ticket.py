"""Adversarial winning tickets (D, Algorithm 1): a mask under which the dynamics of adversarial training stay those of the dense network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from replib.attacks import PGD
from replib.data.augment import to_float
from replib.methods.mask_search import Goal, Search, attacked, forget, squared_kernel_difference
from replib.models.tangent import Entries
from replib.sparsity.masks import Masks, global_random, random_masks
from replib.spec import SpecError, within


@dataclass(frozen=True)
class AWT(Goal):
    """Targets and mixed tangent kernel of the masked student drawn to those of the dense teacher (D, equation 13).

    `attack` makes the teacher's images X̃_0 and the student's X̃ˢ, constants for differentiation; None is the case of natural training,
    neural tangent transfer (:data:`NTT`), which uses no labels. `entries` "diagonal" is the sampled variant S-AWT of Section 4.4.

    `loss` "squared" is |Δf|² and `kernel_weight` times |ΔΘ|², both as means over entries, or as in equation 13 (`distances` "sums": over N
    and N² and not over classes). "cross_entropy" is (B.30): norms, not squares, of the difference of softmax outputs over N and of kernels
    over N²; there the paper has no weight, which is `kernel_weight` 1.

    `kernel` "whole" compares all images of the batch with all; "halves" the first half of them with the second, as the code of neural
    tangent transfer does, in a quarter of the time. `jacobian` "full" counts the gradients of pruned weights too, as that code does.

    Every `refresh` steps but the last the mask becomes that of the largest hidden weights. Pruned ones get no gradient; active ones shrink
    by `decay` of themselves each step, so that pruned ones can return. `penalty` over the density times the active weights' square is part
    of the loss instead. `forget` clears Adam's moments of pruned weights, which otherwise drift for some ten steps.

    `images` "start" crafts adversarial images once, on the networks as they are then.

    Departs: the weight of the kernel is printed as γ² in the formula and as γ = 1e-3 in the text; here it is 1e-3 on means, the setting of
    the method that D follows. ``distances="sums"`` with 1e-6 or 1e-3 are the two literal readings.
    Departs: Algorithm 1 lists adversarial images at the start only; they are crafted anew at every step, since the student changes.
    Departs: decay and interval of the mask's refreshment are not printed; 1e-5 outside Adam's moments, and 100 steps. How to normalise a
    sampled diagonal is not printed; it is a mean like the others.
    Departs: the first mask is called "based on w_0"; it keeps the largest of them (`first`).
    """

    attack: PGD | None = None
    kernel_weight: float = 1e-3
    loss: Literal["squared", "cross_entropy"] = "squared"
    distances: Literal["means", "sums"] = "means"
    entries: Entries = "all"
    kernel: Literal["whole", "halves"] = "whole"
    jacobian: Literal["masked", "full"] = "masked"
    images: Literal["step", "start"] = "step"
    first: Literal["magnitude", "random"] = "magnitude"
    refresh: int = 100
    decay: float = 1e-5
    penalty: float = 0.0
    forget: bool = False

    def check(self) -> None:
        within("AWT.kernel_weight", self.kernel_weight, 0)
        within("AWT.refresh", self.refresh, 1)
        within("AWT.decay", self.decay, 0, 1, high_open=True)
        within("AWT.penalty", self.penalty, 0)
        if self.entries == "diagonal" and self.kernel == "halves":
            raise SpecError("AWT.kernel = 'halves' pairs different images, which a diagonal does not have; use kernel = 'whole'.")

    @property
    def interval(self) -> int:
        return self.refresh

    @property
    def title(self) -> str:
        return "NTT" if self.attack is None else "S-AWT" if self.entries == "diagonal" else "AWT"

    def begin(self, s: Search) -> Masks:
        if self.first == "magnitude":
            return s.largest()
        shapes, rng = {n: tuple(w.shape) for n, w in s.weights.items()}, s.random("first mask")
        drawn = global_random(shapes, s.density, rng) if s.quota is None else random_masks(shapes, s.quota, rng)
        return {n: m.to(s.weights[n].device) for n, m in drawn.items()}

    def minimise(self, s: Search, index: Tensor) -> float:
        s.student.eval()
        x, y = to_float(s.split.train.x[index]), s.split.train.y[index]
        xt, xs = self._crafted(s, x, y, index)
        kernel = self._kernel(s, x, xt, xs)
        target = self._target(s, xt, xs)
        target.backward()
        return kernel + target.item()

    def revise(self, s: Search) -> Masks | None:
        with torch.no_grad():
            for name, w in s.weights.items():
                w.sub_(self.decay * w * s.masks[name])
        if self.forget:
            forget(s)
        return s.largest() if s.step % self.refresh == 0 and s.step < s.steps - self.refresh else None

    def _crafted(self, s: Search, x: Tensor, y: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Adversarial images of the teacher and of the student."""
        if self.images == "step" or self.attack is None:
            return tuple(attacked(net, x, y, self.attack, s.random(f"attack/{s.step}")) for net in (s.teacher, s.model))
        if "crafted" not in s.memory:
            whole, classes = to_float(s.split.train.x), s.split.train.y
            s.memory["crafted"] = [attacked(net, whole, classes, self.attack, s.random("attack")) for net in (s.teacher, s.model)]
        return tuple(images[index] for images in s.memory["crafted"])

    def _kernel(self, s: Search, x: Tensor, xt: Tensor, xs: Tensor) -> float:
        """The kernel's term of the loss, its gradient left in ``.grad``."""
        if self.kernel == "halves":
            half = len(x) // 2
            x, xt, xs = x[:half], xt[half : 2 * half], xs[half : 2 * half]
        total = squared_kernel_difference(s, x, xt, xs, entries=self.entries, masked=self.jacobian == "masked", backward=True)
        n, k = len(x), s.split.classes
        if self.loss == "cross_entropy":
            value = self.kernel_weight * total**0.5 / n**2
            slope = self.kernel_weight / n**2 / (2 * total**0.5) if total else 0.0
        else:
            mean = n * k if self.entries == "diagonal" else (n * k) ** 2
            slope = self.kernel_weight / (mean if self.distances == "means" else n**2)
            value = slope * total
        for p in s.student.parameters():
            if p.grad is not None:  # of the last bias the kernel does not depend
                p.grad.mul_(slope)
        return value

    def _target(self, s: Search, xt: Tensor, xs: Tensor) -> Tensor:
        """The other terms of the loss."""
        with torch.no_grad():
            wanted = s.teacher(xt)
        found = s.model(xs)
        if self.loss == "cross_entropy":  # labels cancel in the difference of gradients
            difference = F.softmax(found, 1) - F.softmax(wanted, 1)
            value = torch.linalg.vector_norm(difference) / len(xs)
        else:
            squares = (found - wanted).square()
            value = squares.mean() if self.distances == "means" else squares.sum() / len(xs)
        if self.penalty:
            active = sum((w * s.masks[n]).square().sum() for n, w in s.weights.items())
            value = value + self.penalty / s.density * active
        return value


NTT = AWT(kernel="halves", jacobian="full", decay=0.0, penalty=1e-5)
"""Neural tangent transfer (Liu and Zenke, ICML 2020) with the settings of its released code, which D's Figure 1 compares with surgery.

Departs: its networks start from Glorot's normal law with biases of 0.01; here from PyTorch's own, unless the search and the run that
follows say ``init=Fresh(scheme="glorot")``.
"""
