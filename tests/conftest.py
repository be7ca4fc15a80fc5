"""What all tests share: one thread, as every job on a CPU has, and stores that vanish."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from replib.store import Store

torch.set_num_threads(1)  # also: the tests of interrupted runs fork, which threads would not survive


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")
