"""Per-sample losses (B,) of logits (B, K) and classes (B,), in float32 or better whatever the net's precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy per sample in nats, (B,)."""
    return F.cross_entropy(_wide(logits), y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Logit of the true class minus the largest other logit, (B,); at most 0 where the sample is misclassified."""
    logits = _wide(logits)
    column = y.view(-1, 1)
    others = logits.scatter(1, column, -torch.inf)
    return logits.gather(1, column).squeeze(1) - others.amax(dim=1)


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
