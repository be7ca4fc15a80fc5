"""Flying Bird and Flying Bird+: the mask changes while the network is adversarially trained (A, Algorithm 2)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from replib.sparsity.masks import select_largest, select_smallest
from replib.spec import SpecError, within
from replib.training.spec import Method, Train
from replib.training.state import State


def swap_ratio(step: int, total: int, first: float = 0.5, last: float = 0.005) -> float:
    """k(t): share of active weights exchanged at an update, a cosine from `first` at step 0 to `last` at step `total`."""
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * step / total))


def exchange(
    weight: Tensor, mask: Tensor, grow_score: Tensor, *, k: float, more_pruning: float = 0.0, more_growth: float = 0.0
) -> tuple[Tensor, dict[str, int]]:
    """The new mask of one layer, and the counts of the exchange: `pruned`, `grown`, `kept`.

    Prunes q = ceil(k nnz) active weights of smallest magnitude, and ceil(k δ_p nnz) more when pruning is boosted; grows q inactive
    positions of largest `grow_score`, or floor(q (1 + δ_g)) when growth is boosted. Just-pruned positions may grow again (as in RigL and
    the released code). At least one weight stays. All shapes equal that of the layer; ties by flat index.
    """
    active = int(mask.sum())
    if active in (0, mask.numel()):
        return mask.clone(), {"pruned": 0, "grown": 0, "kept": active}
    q = math.ceil(k * active)
    drop_count = min(q + (math.ceil(k * more_pruning * active) if more_pruning else 0), active - 1)
    survivors = mask & ~select_smallest(weight.detach().abs(), mask, drop_count)
    inactive = mask.numel() - (active - drop_count)
    grow_count = min(math.floor(q * (1 + more_growth)) if more_growth else min(q, drop_count), inactive)
    grown = select_largest(grow_score, ~survivors, grow_count)
    new = survivors | grown
    return new, {"pruned": drop_count, "grown": grow_count, "kept": active - drop_count + grow_count}


@dataclass(frozen=True)
class FlyingBird(Method):
    """Every `interval` of the run, exchange a share k(t) of each layer's active weights: smallest magnitude out, largest gradient in.

    `interval` is a fraction of all steps: the paper's 2,000 of 70,400 iterations. Gradients are those of the last adversarial batch,
    taken before its optimizer step and dense because masks are projected. The total of each layer never changes.

    Departs: the released code grows at random positions by default (`growth` "random"; the paper and this default take the gradient),
    every 900 iterations, from the middle of the run on every 1,200 (`interval` 900/70400, `later_interval` 1200/70400).

    Departs: the paper's grown connections were "not activated in the last sparse topology" and start at zero. Here, as in the released
    code, a weight that this update has pruned may be grown at once; then it keeps its value.
    """

    interval: float = 2000 / 70400
    k_first: float = 0.5
    k_last: float = 0.005
    growth: Literal["gradient", "random"] = "gradient"
    later_interval: float | None = None  # in the second half of the run; None: the same

    def check(self) -> None:
        within(f"{type(self).__name__}.interval", self.interval, 0, 1, low_open=True)
        if self.later_interval is not None:
            within(f"{type(self).__name__}.later_interval", self.later_interval, 0, 1, low_open=True)
        within(f"{type(self).__name__}.k_first", self.k_first, 0, 1)
        within(f"{type(self).__name__}.k_last", self.k_last, 0, self.k_first)

    def check_run(self, run: Train) -> None:
        if run.ticket is None or run.masking != "projected":
            raise SpecError(
                f"{type(self).__name__} needs a mask to change and dense gradients to grow by, but Train.ticket = {run.ticket!r} and "
                f"Train.masking = {run.masking!r}; give a ticket and masking = 'projected'."
            )

    def every(self, state: State) -> int:
        """Steps between two updates at this moment of the run, at least one."""
        late = self.later_interval is not None and 2 * state.step >= state.total_steps
        return max(1, round((self.later_interval if late else self.interval) * state.total_steps))

    def start(self, state: State) -> None:
        state.method["ever_active"] = {n: m.clone() for n, m in state.masks.items()}
        state.method["result/updates"] = 0
        state.method["result/explored"] = state_density(state)

    def boosts(self, state: State) -> tuple[float, float]:
        """(δ_p, δ_g) in force now; zero without a controller."""
        return 0.0, 0.0

    def after_step(self, state: State) -> None:
        if state.step % self.every(state) or not state.masks:
            return
        k = swap_ratio(state.step, state.total_steps, self.k_first, self.k_last)
        delta_p, delta_g = self.boosts(state)
        totals = {"pruned": 0, "grown": 0, "kept": 0}
        weights = state.weights
        rng = state.random(f"grow/{state.step}") if self.growth == "random" else None
        for name, mask in state.masks.items():
            w = weights[name]
            score = w.grad.abs() if rng is None else torch.rand(w.shape, generator=rng).to(w.device)
            new, moved = exchange(w, mask, score, k=k, more_pruning=delta_p, more_growth=delta_g)
            state.method["ever_active"][name] |= new
            state.set_mask(name, new)
            totals = {key: totals[key] + moved[key] for key in totals}
        state.project()  # grown positions were zero before: they start at zero with zero momentum
        state.note_masks()
        state.method["result/updates"] += 1
        ever = state.method["ever_active"]
        state.method["result/explored"] = sum(int(m.sum()) for m in ever.values()) / sum(m.numel() for m in ever.values())
        state.events.append(
            {"epoch": state.epoch + 1, "step": state.step, "event": "update", "k": k} | totals
            | {"prune_boost": delta_p > 0, "growth_boost": delta_g > 0}
        )  # fmt: skip


@dataclass(frozen=True)
class FlyingBirdPlus(FlyingBird):
    """Flying Bird with a controller that prunes more while the robust gap widens and grows more while the validation loss rises.

    From `t_start` (a fraction of the run) on, over the last `window` epoch-to-epoch differences: pruning is boosted when the gap between
    running train and validation robust accuracy rose in at least `frequency` of them, growth when the robust validation loss did not
    fall in at least `frequency` of them. Both may hold. The density is therefore only the initial one.

    Departs: window 4 and frequency 0.5 are the released code's, the text says "more than 3 of the past 5 epochs" (`window` 5,
    `frequency` 0.61); δ_p = 0.4 and δ_g = 0.05 are fractions although the text prints "0.4 %" and "0.05 %": only fractions give the
    printed FLOPs.
    """

    delta_p: float = 0.4
    delta_g: float = 0.05
    window: int = 4
    frequency: float = 0.5
    t_start: float = 0.5
    plateau_tolerance: float | None = None  # a number: growth on |change| <= tolerance, the text's "unchanged validation loss"

    def check(self) -> None:
        super().check()
        within("FlyingBirdPlus.delta_p", self.delta_p, 0)
        within("FlyingBirdPlus.delta_g", self.delta_g, 0)
        within("FlyingBirdPlus.window", self.window, 1)
        within("FlyingBirdPlus.frequency", self.frequency, 0, 1, low_open=True)
        within("FlyingBirdPlus.t_start", self.t_start, 0, 1)
        if self.plateau_tolerance is not None:
            within("FlyingBirdPlus.plateau_tolerance", self.plateau_tolerance, 0)

    def boosts(self, state: State) -> tuple[float, float]:
        if state.epoch < self.t_start * state.epochs - 1e-9 or len(state.history) < self.window + 1:
            return 0.0, 0.0
        gaps = [row["train_ra"] - row["val_ra"] for row in state.history[-self.window - 1 :]]
        losses = [row["val_robust_loss"] for row in state.history[-self.window - 1 :]]
        prune, grow = self.signals(gaps, losses)
        return self.delta_p * (prune >= self.frequency), self.delta_g * (grow >= self.frequency)

    def signals(self, gaps: list[float], losses: list[float]) -> tuple[float, float]:
        """Share of differences with a widening gap, and with a validation loss that did not fall."""
        prune = sum(b > a for a, b in itertools.pairwise(gaps)) / self.window
        tol = self.plateau_tolerance
        still = (lambda a, b: b - a >= 0) if tol is None else (lambda a, b: abs(b - a) <= tol)
        return prune, sum(still(a, b) for a, b in itertools.pairwise(losses)) / self.window

    def after_epoch(self, state: State, row: dict[str, Any]) -> bool:
        past = [*state.history, row]
        if len(past) > self.window:
            recent = past[-self.window - 1 :]
            row["gap_rises"], row["loss_rises"] = self.signals(
                [r["train_ra"] - r["val_ra"] for r in recent], [r["val_robust_loss"] for r in recent]
            )
        return False


def state_density(state: State) -> float:
    """Share of active weights now."""
    return sum(int(m.sum()) for m in state.masks.values()) / max(1, sum(m.numel() for m in state.masks.values()))
