"""Attacks: what an adversary may do (specs) and how it is done (`pgd`, `cw`, `ensemble`, `evaluate`).

Images are floats in [0, 1] and every radius is in the same pixel units: the first layer of every net normalises, so
neither the ball nor the box ever lives in normalised space. Importing this package does not import torch.
"""

from __future__ import annotations

from replib.attacks.spec import CW, FGSM, PGD, Attack, AutoAttack

__all__ = ["CW", "FGSM", "PGD", "Attack", "AutoAttack"]
