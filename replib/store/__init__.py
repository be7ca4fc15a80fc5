"""The store: what every job left behind, found again by its key."""

from replib.store.folder import CannotWrite, Damaged, DiskFull, Missing, Store

__all__ = ["CannotWrite", "Damaged", "DiskFull", "Missing", "Store"]
