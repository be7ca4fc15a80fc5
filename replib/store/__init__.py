"""The store: what every job left behind, found again by its key."""

from replib.store.folder import Damaged, DiskFull, Missing, Store

__all__ = ["Damaged", "DiskFull", "Missing", "Store"]
