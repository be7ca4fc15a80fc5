"""What all tests share: one thread, as every job on a CPU has, and stores that vanish."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch

from replib.store import Store

torch.set_num_threads(1)  # also: the tests of interrupted runs fork, which threads would not survive


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def tiny_made(tmp_path_factory: pytest.TempPathFactory) -> tiny.Tiny:
    """A small project, made once; only copies of it are changed."""
    return tiny.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def project(tiny_made: tiny.Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tiny.Tiny:
    """A copy of the small project, which the registry knows as the only one."""
    root = tmp_path / "project"
    shutil.copytree(tiny_made.root, root)
    tiny.enter(monkeypatch, root)
    return tiny.Tiny(root)
