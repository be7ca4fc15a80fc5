"""Learning rates over a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from replib.training.spec import Constant, Cosine, Cyclic, Plateau, Schedule, Steps


def rate(schedule: Schedule, *, step: int, steps_per_epoch: int, epochs: int, plateau: Mapping[str, Any]) -> float:
    """Factor on the base learning rate for the step numbered `step` from 0; `plateau` is the state kept by :func:`plateau_update`."""
    epoch = step // steps_per_epoch
    progress = (step + 1) / (steps_per_epoch * epochs)
    match schedule:
        case Constant():
            return 1.0
        case Steps():
            # The 1e-9 makes a drop at 2/3 of 240 epochs fall on epoch 160 and not, by rounding, on 161.
            return schedule.factor ** sum(epoch >= d * epochs - 1e-9 for d in schedule.drops)
        case Cyclic():
            return progress / schedule.peak if progress <= schedule.peak else (1 - progress) / (1 - schedule.peak)
        case Cosine():
            return 0.5 * (1 + math.cos(math.pi * step / (steps_per_epoch * epochs)))
        case Plateau():
            return schedule.factor ** plateau["fired"]
    raise TypeError(f"no rate for {schedule!r}")


def plateau_start() -> dict[str, Any]:
    """State of a plateau schedule before the first epoch."""
    return {"best": math.inf, "waited": 0, "fired": 0}


def plateau_update(schedule: Plateau, state: dict[str, Any], value: float, epochs: int) -> bool:
    """Note one epoch's validation loss; True when training ends (B, Section 4.1, "Stop-C")."""
    patience = max(1, round(schedule.patience_fraction * epochs))
    if value < state["best"] * (1 - schedule.threshold):
        state["best"], state["waited"] = value, 0
    else:
        state["waited"] += 1
    if state["waited"] >= patience + schedule.strict:
        state["fired"], state["waited"] = state["fired"] + 1, 0
    return state["fired"] >= schedule.stop_at
