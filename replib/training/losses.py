"""What one step minimises, built from a loss spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from replib.attacks.pgd import perturb
from replib.spec import SpecError
from replib.training.spec import PGDAT, CleanAndAdversarial, CrossEntropy, Distill, FastAT, FreeAT, Loss, Slimming

Objective = Callable[[nn.Module, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(model in train mode, images in [0, 1], classes, the attack's generator) -> (scalar loss, logits of the update's forward pass)."""


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``-T² mean_n Σ_c softmax(teacher / T)_c log softmax(student / T)_c`` for logits (B, K); Hinton et al., 2015."""
    soft = F.softmax(teacher / temperature, dim=1)
    return -(temperature**2) * (soft * F.log_softmax(student / temperature, dim=1)).sum(1).mean()


def objective(loss: Loss, teachers: Mapping[str, nn.Module], memory: MutableMapping[str, Any] | None = None) -> Objective:
    """The function that a step minimises. `teachers` holds "standard" and "robust" networks in eval mode for distillation.

    `memory` is what a loss carries from step to step and is saved with the run: the perturbation of free adversarial training.
    """
    memory = {} if memory is None else memory
    match loss:
        case CrossEntropy():
            return lambda model, x, y, g: _with_logits(model(x), lambda z: F.cross_entropy(z, y, label_smoothing=loss.smoothing))
        case PGDAT() | FastAT():
            return lambda model, x, y, g: _with_logits(model(perturb(model, x, y, loss.attack, g)), lambda z: F.cross_entropy(z, y))
        case FreeAT():
            return lambda model, x, y, g: _with_logits(model(_carried(x, loss.eps, memory)), lambda z: F.cross_entropy(z, y))
        case CleanAndAdversarial():

            def both(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
                z = model(perturb(model, x, y, loss.attack, g))
                adversarial = F.cross_entropy(z, y, label_smoothing=loss.smoothing)
                clean = F.cross_entropy(model(x), y, label_smoothing=loss.smoothing)
                return loss.clean * clean + (1 - loss.clean) * adversarial, z

            return both
        case Distill():

            def distilled(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
                x = perturb(model, x, y, loss.attack, g)
                with torch.no_grad():
                    standard, robust = teachers["standard"](x), teachers["robust"](x)
                z = model(x)
                t = loss.temperature
                return loss.ce * F.cross_entropy(z, y) + loss.standard * kd(z, standard, t) + loss.robust * kd(z, robust, t), z

            return distilled
        case Slimming():
            inner = objective(loss.loss, teachers, memory)

            def slim(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
                value, z = inner(model, x, y, g)
                penalised = scales(model) if loss.on == "scales" else kernels(model)
                return value + loss.strength * sum(p.abs().sum() for p in penalised), z

            return slim
    raise SpecError(f"loss = {loss!r} is not known; give one of the losses of replib.training.")


def _with_logits(z: Tensor, value: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    return value(z), z


def _carried(x: Tensor, eps: float, memory: MutableMapping[str, Any]) -> Tensor:
    """`x` with the carried perturbation, which the coming backward pass moves by `eps` along its gradient's sign and clips to the ball.

    The gradient is that of the image which the network sees, taken behind the clipping to [0, 1]: through it a black or white pixel would
    have no gradient, and never be moved.
    """
    carried = memory.get("perturbation")
    if carried is None or len(carried) < len(x):
        carried = memory["perturbation"] = torch.zeros_like(x)
    part = carried[: len(x)]
    seen = (x + part).clamp(0, 1).requires_grad_(True)
    seen.register_hook(lambda gradient: part.copy_((part + eps * gradient.sign()).clamp(-eps, eps)))
    return seen


def scales(model: nn.Module) -> list[nn.Parameter]:
    """The scale vectors of all batch normalisations, in forward order."""
    return [m.weight for m in model.modules() if isinstance(m, _BatchNorm)]


def kernels(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all convolutions, in forward order."""
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]


def attack_of(loss: Loss) -> Any:
    """The attack inside a loss, or None for clean training."""
    return attack_of(loss.loss) if isinstance(loss, Slimming) else getattr(loss, "attack", None)


def replays(loss: Loss) -> int:
    """How often in a row each batch is trained on: once but for free adversarial training."""
    return replays(loss.loss) if isinstance(loss, Slimming) else getattr(loss, "replays", 1)
