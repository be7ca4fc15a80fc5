"""The processes that make one result together, as `torchrun` starts them; usually there is only one."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = datetime.timedelta(days=7)
"""How long a process waits for the others: one of them may draw a ticket or attack a test set alone."""


@dataclass(frozen=True)
class World:
    """Process `rank` of `size`. Everything here is the identity for a single process."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes results and speaks to people."""
        return self.rank == 0

    def part(self, n: int) -> slice:
        """Which of `n` things in a row this process takes; parts differ in size by one at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def purpose(self, name: str) -> str:
        """The name of a random stream that every process must have for itself."""
        return name if self.size == 1 else f"{name}/{self.rank} of {self.size}"

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace `tensors` (of one type, on one device) by their sums over all processes, bit for bit the same in each."""
        if self.size == 1:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for t, summed in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(summed.view(t.shape))

    def told(self, value: Any) -> Any:
        """What the leading process gives as `value`, in all of them. All wait here for each other."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


ALONE = World()


@contextmanager
def joined(device: str) -> Iterator[tuple[World, str]]:
    """The world that this process was started in, and its own device of the kind `device`: each process of a machine takes one GPU."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if device != "cpu":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()
