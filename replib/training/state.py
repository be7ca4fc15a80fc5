"""The state of a run: everything needed to go on, as one plain tree."""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from replib.models.build import prunable
from replib.sparsity.masks import Masks, project_
from replib.spec import Task, stream_seed
from replib.store.files import sha256, write_atomically, write_weights
from replib.store.world import ALONE, World

Tree = dict[str, Any]


def generator(seed: int, purpose: str) -> torch.Generator:
    """CPU generator of one purpose; see :func:`replib.spec.stream_seed`."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose))


def read_state(path: Path, device: str = "cpu") -> Tree:
    """The tree that :meth:`State.save` wrote. Raises ValueError if the file does not match its checksum."""
    data = path.read_bytes()
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise ValueError(f"{path} is damaged: it does not match its checksum")
    return torch.load(io.BytesIO(data[32:]), map_location=device, weights_only=True)


class Masked(nn.Module):
    """A network computed with mask times hidden dense weights; gradients reach the hidden weights.

    Plain: hidden pruned weights get no gradient of the loss (weight decay still shrinks them). `straight_through`: they get the
    gradient of the effective weight and can come back (dynamic network surgery).
    """

    def __init__(self, inner: nn.Module, masks: Masks, straight_through: bool):
        super().__init__()
        self.inner, self.masks, self.straight_through = inner, masks, straight_through

    def forward(self, x: Tensor) -> Tensor:
        effective = {}
        for name, p in self.inner.named_parameters():
            if name in self.masks:
                kept = p * self.masks[name]
                effective[name] = p + (kept - p).detach() if self.straight_through else kept
        return functional_call(self.inner, effective, (x,))


@dataclass
class State:
    """A run between two steps. Methods read and change it in their hooks.

    ``net`` holds the parameters by their plain names; ``model`` is what computes (the same object when masks are projected).
    ``method`` is the method's own memory. Randomness comes from :meth:`random`, named by purpose, so there is none to save.
    """

    task: Task
    net: nn.Module
    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps_per_epoch: int
    epochs: int
    device: str
    masks: Masks = field(default_factory=dict)
    epoch: int = 0  # epochs done
    step: int = 0  # optimizer steps done
    method: Tree = field(default_factory=dict)
    plateau: Tree = field(default_factory=dict)
    loss: Tree = field(default_factory=dict)
    history: list[Tree] = field(default_factory=list)
    events: list[Tree] = field(default_factory=list)
    counts: list[Tree] = field(default_factory=list)  # nnz of every layer, each time the masks change
    best: Tree = field(default_factory=dict)  # checkpoint name -> {"value", "epoch"}
    kept: Tree = field(default_factory=dict)  # "epoch_<n>" -> weights
    written: Tree = field(default_factory=dict)  # "epoch_<n>" -> checksum of the file that holds the weights already
    average: Tree = field(default_factory=dict)
    spent: Tree = field(default_factory=dict)
    stopped: str = ""
    world: World = ALONE

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The prunable parameters, by name."""
        return prunable(self.net)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps_per_epoch * self.epochs

    def random(self, purpose: str) -> torch.Generator:
        """The generator of `purpose` at this moment of the run ('grow/<step>', 'attack/<epoch>', ...)."""
        return generator(self.task.seed, self.stream(purpose))

    def stream(self, purpose: str) -> str:
        """The name of a stream of random numbers: that of its purpose, and of the repetition of the run."""
        return purpose if self.task.job.repeat == 0 else f"{purpose}, repeat {self.task.job.repeat}"

    def note_masks(self) -> None:
        """Record the number of active weights of every layer from this step on."""
        self.counts.append({"step": self.step} | {n: int(m.sum()) for n, m in self.masks.items()})

    def snapshot(self) -> Tree:
        """The network's effective parameters and buffers, copied."""
        tree = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        for name, m in self.masks.items():
            tree[name] = tree[name] * m
        return tree

    def spill(self, folder: Path) -> None:
        """Write the epochs' weights that are held to their files and let go of them: all epochs of a run may not fit into memory."""
        for stem in [k for k in self.kept if k.startswith("epoch_")]:
            path = folder / f"{stem}.safetensors"
            write_weights(path, self.kept.pop(stem))
            self.written[stem] = sha256(path)

    def set_mask(self, name: str, mask: Tensor) -> None:
        """Replace one layer's mask in place, so that the projection sees it."""
        self.masks[name].copy_(mask)

    def project(self) -> None:
        """Zero pruned weights and their momentum: both, or pruned weights come back one step later."""
        project_(self.weights, self.masks, self.optimizer)

    PLAIN = (
        "epoch", "step", "method", "plateau", "loss", "history", "events", "counts", "best", "kept", "written", "average", "spent",
        "stopped",
    )  # fmt: skip

    def save(self, path: Path) -> None:
        """The whole state into one file, whole or not at all, after a checksum: PyTorch reads flipped bits without complaint."""
        tree = {name: getattr(self, name) for name in self.PLAIN} | {"retain": list(self.task.job.retain)}
        tree |= {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "masks": self.masks}
        body = io.BytesIO()
        torch.save(tree, body)
        write_atomically(path, lambda f: (f.write(hashlib.sha256(body.getbuffer()).digest()), f.write(body.getbuffer())))

    def mark(self) -> Tree:
        """A copy of what an epoch of training changes; see :meth:`rewind`."""
        tree = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "masks": self.masks}
        tree |= {"method": self.method, "loss": self.loss}
        return copy.deepcopy(tree) | {"step": self.step, "events": list(self.events), "counts": list(self.counts)}

    def rewind(self, mark: Tree) -> None:
        """Undo everything since `mark` was taken at the end of an epoch."""
        self.net.load_state_dict(mark["net"])
        self.optimizer.load_state_dict(mark["optimizer"])
        self.masks.update(mark["masks"])
        for name in ("method", "loss", "step", "events", "counts"):
            setattr(self, name, mark[name])

    def restore(self, path: Path) -> bool:
        """Go back to a saved state. Only tensors and plain containers are read; nothing is executed.

        False, with a warning, when the run has to start over: the file is damaged, or was saved by a run that was not yet asked to
        retain what this one is, or weights that the run had written are gone or damaged.
        """
        try:
            tree = read_state(path, self.device)
        except ValueError as e:
            warnings.warn(f"{e}; {self.task} starts over.", stacklevel=2)
            return False
        if not set(self.task.job.retain) <= set(tree["retain"]):
            warnings.warn(f"{path} lacks {', '.join(self.task.job.retain)} of its epochs; {self.task} starts over.", stacklevel=2)
            return False
        for stem, digest in tree.setdefault("written", {}).items():  # states of earlier versions have none
            written = path.parent / f"{stem}.safetensors"
            if not written.exists() or sha256(written) != digest:
                warnings.warn(f"{written} is gone or damaged; {self.task} starts over.", stacklevel=2)
                return False
        self.net.load_state_dict(tree["net"])
        self.optimizer.load_state_dict(tree["optimizer"])
        for name, mask in tree["masks"].items():
            self.masks[name] = mask
        for name in self.PLAIN:
            setattr(self, name, tree[name])
        return True
