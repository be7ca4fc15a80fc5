"""Exhibits of our own that read the four papers together."""

from __future__ import annotations

from replib.experiments.exhibit import Exhibit
from replib.experiments.together import arena

EXHIBITS: tuple[Exhibit, ...] = (arena.EXHIBIT,)
