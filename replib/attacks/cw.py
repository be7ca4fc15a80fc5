"""The l2 attack of Carlini and Wagner, S&P 2017, section VI-A, as Sparsity Winning Twice (appendix A3) used it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from replib.attacks.losses import margin
from replib.attacks.spec import CW

_SHRINK = 0.999999  # keeps atanh finite for pixels that are exactly 0 or 1


def carlini_wagner(model: nn.Module, x: Tensor, y: Tensor, attack: CW) -> Tensor:
    """The misclassified iterate closest to `x` in l2 per sample, and `x` itself where none was found. Shape of `x`.

    Minimises ``|x_adv - x|^2 + c max(margin + confidence, 0)`` over w, x_adv = (tanh(v + w) + 1) / 2, with Adam. Needs
    no random numbers. `model` must already be in eval() with gradients off for its parameters
    (`replib.attacks.pgd.perturb` does that).

    Departs: no early abort. The released implementation stops a whole batch when the *batch's* loss stalls, which makes
    the result of one image depend on its neighbours and on the batch size.
    """
    v = torch.atanh(_SHRINK * (2 * x - 1))
    anchor = (torch.tanh(v) + 1) / 2
    best, nearest = x.clone(), x.new_full((len(x),), torch.inf)
    c, c_low, c_high = (x.new_full((len(x),), value) for value in (attack.c, 0.0, torch.inf))
    for _ in range(attack.search_steps):
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        w = torch.zeros_like(x).requires_grad_(True)
        optimizer = torch.optim.Adam([w], lr=attack.lr)
        for _ in range(attack.iterations):
            x_adv = (torch.tanh(v + w) + 1) / 2
            excess = margin(model(x_adv), y) + attack.confidence
            distance = (x_adv - anchor).flatten(1).square().sum(dim=1)
            optimizer.zero_grad()
            (w.grad,) = torch.autograd.grad((distance + c * excess.clamp(min=0)).sum(), w)
            optimizer.step()
            success = excess.detach() < 0
            closer = success & (distance.detach() < nearest)
            found |= success
            nearest = torch.where(closer, distance.detach(), nearest)
            best = torch.where(closer.view(-1, *[1] * (x.dim() - 1)), x_adv.detach(), best)
        c_high = torch.where(found, torch.minimum(c_high, c), c_high)
        c_low = torch.where(found, c_low, torch.maximum(c_low, c))
        c = torch.where(c_high.isfinite(), (c_low + c_high) / 2, 10 * c)
    return best
