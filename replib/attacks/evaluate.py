"""Accuracy under attack. A net is always evaluated in eval()."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from replib.attacks.losses import cross_entropy
from replib.attacks.pgd import attacking, perturb
from replib.attacks.spec import Attack
from replib.spec import ReplibError

BATCH = {"cpu": 128, "cuda": 1000}
"""Images at a time, by device: on a processor what its cache holds, a fifth faster than 500; elsewhere enough to keep it busy."""


@dataclass(frozen=True)
class Evaluation:
    """What one net makes of N images, on the CPU."""

    correct: Tensor
    """Bool (N,): classified correctly (under attack)."""
    predicted: Tensor
    """Int64 (N,): predicted classes."""
    loss: float
    """Mean cross-entropy in nats."""

    @property
    def accuracy(self) -> float:
        """Percent of correctly classified images."""
        return 100 * self.correct.double().mean().item()


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Attack | None = None,
    *,
    batch: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    surrogate: nn.Module | None = None,
) -> Evaluation:
    """The :class:`Evaluation` of `model` on images `x` (N, C, H, W) with classes `y` (N,), clean or under `attack`.

    `x` is uint8 (scaled by 1/255 here) or float in [0, 1]. With `surrogate` the images are crafted on that net and
    shown to `model` (transfer "from unseen"; swap the two for "on unseen"). The attack's random numbers come from one
    CPU generator seeded with `seed`, so the starts do not depend on the device. `device` defaults to that of the
    model and must hold both nets; `batch` defaults to :data:`BATCH`. Flags of both nets are restored.

    Raises :class:`~replib.spec.ReplibError` for images outside [0, 1], which mean that somebody normalised them before
    the net did, and for an empty set.
    """
    if len(x) == 0 or len(x) != len(y):
        raise ReplibError(f"evaluate got {len(x)} images and {len(y)} classes; give as many of one as of the other, at least one.")
    if x.is_floating_point() and not (x.amin() >= 0 and x.amax() <= 1):
        raise ReplibError(
            f"Images must lie in [0, 1] but span [{x.amin():.3g}, {x.amax():.3g}]; pass raw pixels, the net's first layer normalises."
        )
    device = torch.device(device) if device is not None else next(model.parameters(), x).device
    batch = batch or BATCH.get(device.type, 1000)
    generator = torch.Generator().manual_seed(seed)
    crafter = model if surrogate is None else surrogate
    predicted, losses = [], []
    with attacking(model, "eval"), attacking(crafter, "eval"):
        for net in (model, crafter):
            assert not any(m.training for m in net.modules()), "evaluation must run in eval()"
        for xb, yb in zip(x.split(batch), y.split(batch), strict=True):
            xb, yb = _pixels(xb.to(device)), yb.to(device)
            if attack is not None:
                xb = perturb(crafter, xb, yb, attack, generator)
            with torch.no_grad():
                logits = model(xb)
            predicted.append(logits.argmax(dim=1))
            losses.append(cross_entropy(logits, yb))
    predicted = torch.cat(predicted).cpu()
    return Evaluation(correct=predicted == y.cpu(), predicted=predicted, loss=torch.cat(losses).double().mean().item())


def _pixels(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float() / 255
