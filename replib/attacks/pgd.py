"""Adversarial images: `perturb` for every attack spec, and PGD in both norms.

Shapes: x (B, C, H, W) floats in [0, 1], y (B,) class indices, logits (B, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from replib.attacks.cw import carlini_wagner
from replib.attacks.ensemble import autoattack
from replib.attacks.losses import cross_entropy, margin
from replib.attacks.spec import CW, FGSM, PGD, Attack, AutoAttack
from replib.spec import ReplibError, SpecError

Objective = Callable[[Tensor, Tensor], Tensor]  # (logits, y) -> scalar that the attack makes large

OBJECTIVES: dict[str, Objective] = {
    "ce": lambda logits, y: cross_entropy(logits, y).sum(),
    "margin": lambda logits, y: -margin(logits, y).sum(),
}


def perturb(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    generator: torch.Generator | None = None,
    loss: Objective | None = None,
) -> Tensor:
    """Adversarial images x_adv, detached, with the shape, dtype and device of `x` and values in [0, 1].

    All randomness of the attack comes from `generator`, drawn on the generator's own device: a CPU generator gives the
    same start on every device and in every memory format. (Dropout, where a net has it and is in train(), draws from
    torch's global generator.) A net in train() is handled as ``attack.bn`` says, CW and AutoAttack always use eval();
    flags and ``requires_grad`` are restored, parameters and their ``.grad`` are not touched. Losses are summed over the
    batch, so that in eval() an image's perturbation does not depend on its neighbours. With restarts, the start that
    gives the smallest margin counts, image by image.

    `loss` replaces the objective of PGD and FGSM. Raises :class:`~replib.spec.ReplibError` for integer images or a
    missing generator.
    """
    if not x.is_floating_point():
        raise ReplibError(f"Attacks need float images in [0, 1] but got {x.dtype}; divide uint8 images by 255.")
    if isinstance(attack, FGSM):
        attack = PGD(attack.eps, steps=1, step=attack.step, start=attack.start, bn=attack.bn)
    if loss is not None and not isinstance(attack, PGD):
        raise ReplibError(f"{type(attack).__name__} has an objective of its own; give loss= to PGD or FGSM only.")
    x = x.detach()
    if isinstance(attack, PGD):
        with attacking(model, attack.bn):
            found = _pgd(model, _quick(x), y, attack, generator, loss or OBJECTIVES[attack.loss])
        return torch.empty_like(x).copy_(found)  # in the memory format of x, also where its strides are ambiguous (C = 1)
    if isinstance(attack, CW):
        with attacking(model, "eval"):
            return carlini_wagner(model, x, y, attack)
    if isinstance(attack, AutoAttack):
        with attacking(model, "eval"):
            return autoattack(model, x, y, attack, _needed(generator))
    raise SpecError(f"attack = {attack!r} is not known; it must be a PGD, FGSM, CW or AutoAttack.")


def _quick(x: Tensor) -> Tensor:
    """`x` in the memory format in which a CPU computes an attack fastest: channels-last, a quarter less time.

    Safe only where no weight gets a gradient, as inside :func:`attacking`: PyTorch 2.15 corrupts the heap in the weight gradient of
    channels-last convolutions with two to six channels. Forward passes and input gradients were found clean with guard pages.
    """
    return x.clone(memory_format=torch.channels_last) if x.device.type == "cpu" and x.dim() == 4 else x


@contextmanager
def attacking(model: nn.Module, bn: str) -> Iterator[None]:
    """Inside, only inputs get gradients and BatchNorm does what `bn` says; flags are restored, also after an error."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    training = [m for m in model.modules() if m.training] if bn == "eval" else []
    # A BatchNorm in train() that does not track uses batch statistics and leaves every buffer alone, counter included.
    tracking = (
        [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
        if bn == "train_frozen_stats"
        else []
    )
    try:
        for p in parameters:
            p.requires_grad_(False)
        for m in training:
            m.training = False
        for m in tracking:
            m.track_running_stats = False
        with torch.enable_grad():
            yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
        for m in training:
            m.training = True
        for m in tracking:
            m.track_running_stats = True


def _pgd(model: nn.Module, x: Tensor, y: Tensor, attack: PGD, generator: torch.Generator | None, objective: Objective) -> Tensor:
    ascend = _ascend_linf if attack.norm == "linf" else _ascend_l2
    worst = ascend(model, x, y, attack, generator, objective)
    if attack.restarts == 1:
        return worst
    with torch.no_grad():
        lowest = margin(model(worst), y)
    for _ in range(attack.restarts - 1):
        candidate = ascend(model, x, y, attack, generator, objective)
        with torch.no_grad():
            achieved = margin(model(candidate), y)
            better = achieved < lowest
            lowest = torch.where(better, achieved, lowest)
            worst = torch.where(_column(better, x), candidate, worst)
    return worst


def _ascend_linf(model: nn.Module, x: Tensor, y: Tensor, attack: PGD, generator: torch.Generator | None, objective: Objective) -> Tensor:
    # Ball and box are both axis-aligned: their intersection is one interval per pixel, projecting on it is one clamp.
    low, high = (x - attack.eps).clamp_(min=0), (x + attack.eps).clamp_(max=1)
    x_adv = x.clone()
    if attack.start == "random":
        noise = torch.rand(x.shape, generator=_needed(generator), device=generator.device)
        x_adv.add_(noise.mul_(2).sub_(1).to(x), alpha=attack.eps).clamp_(low, high)
    for _ in range(attack.steps):
        x_adv.requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(model(x_adv), y), x_adv)
        x_adv = x_adv.detach().add_(gradient.sign_(), alpha=attack.step * attack.eps).clamp_(low, high)
    return x_adv


def _ascend_l2(model: nn.Module, x: Tensor, y: Tensor, attack: PGD, generator: torch.Generator | None, objective: Objective) -> Tensor:
    delta = torch.zeros_like(x)
    if attack.start == "random":
        # Uniform direction, uniform radius, as in the code of Rice et al., ICML 2020.
        g = _needed(generator)
        direction = torch.randn(x.shape, generator=g, device=g.device)
        radius = attack.eps * torch.rand(len(x), generator=g, device=g.device)
        direction = direction * _column(radius / direction.flatten(1).norm(dim=1).clamp_(min=1e-12), direction)
        delta = (x + direction.to(x)).clamp_(0, 1).sub_(x)
    for _ in range(attack.steps):
        x_adv = (x + delta).requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(model(x_adv), y), x_adv)
        length = gradient.flatten(1).norm(dim=1).clamp_(min=1e-12)
        delta = delta + gradient * _column(attack.step * attack.eps / length, x)
        delta = (x + delta).clamp_(0, 1).sub_(x)
        # Shrinking towards x, which is in the box, cannot leave the box: this order satisfies both constraints.
        length = delta.flatten(1).norm(dim=1).clamp_(min=1e-12)
        delta = delta * _column((attack.eps / length).clamp_(max=1), x)
    return (x + delta).clamp_(0, 1)


def _needed(generator: torch.Generator | None) -> torch.Generator:
    if generator is None:
        raise ReplibError("This attack draws random numbers; give it a generator, e.g. torch.Generator().manual_seed(0).")
    return generator


def _column(v: Tensor, like: Tensor) -> Tensor:
    """`v` (B,) shaped (B, 1, 1, ...) so that it broadcasts over `like`."""
    return v.view(-1, *[1] * (like.dim() - 1))
