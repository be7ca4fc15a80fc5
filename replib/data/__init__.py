"""Data sets: the roles that the papers' sets play, where their pictures come from, and how they are loaded.

Importing this package does not import torch; ``replib.data.load`` and ``replib.data.augment`` do.
"""

from __future__ import annotations

from replib.data.roles import ROLES, Augmentation, Role, role
from replib.data.spec import Data

__all__ = ["ROLES", "Augmentation", "Data", "Role", "role"]
