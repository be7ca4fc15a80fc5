"""Channels that a structured method may remove: as masks on weights, and as networks that are really smaller.

Removing a channel behind a batch normalisation means: the filters that make it go, the columns of the weights that read it go, and what
its normalisation adds no longer matters. As masks, that is rows and columns of zeros; the mask leaves a network that computes the same as
the smaller one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from replib.models import Net
from replib.models.spec import weight_shapes
from replib.sparsity.masks import Masks
from replib.spec import ReplibError


@dataclass(frozen=True)
class Channels:
    """The channels behind one batch normalisation: who makes them and who reads them.

    `made_by` is empty where the channels come from a sum or a concatenation that others read too (the residual stream of a pre-activation
    network, the growing stack of a DenseNet). Then removal selects channels behind the normalisation (Liu et al., 2017, Section 3) and
    leaves the stream as it is.
    """

    norm: str
    size: int
    read_by: tuple[str, ...]
    made_by: str | None = None


def channels(net: Net, classes: int, shape: tuple[int, ...]) -> tuple[Channels, ...]:
    """Every set of channels of `net` that can go, in forward order.

    Inside bottlenecks only the two inner normalisations count, whose channels nothing else reads. Raises
    :class:`~replib.spec.ReplibError` for networks without batch normalisation.
    """
    shapes = weight_shapes(net, classes, shape)
    if net.family == "vgg":
        convs = [n for n in shapes if n.startswith("convs.")]
        readers = [*convs[1:], "fc.weight"]
        return tuple(
            Channels(f"bns.{i}", shapes[conv][0], (reader,), conv) for i, (conv, reader) in enumerate(zip(convs, readers, strict=True))
        )
    if net.family == "preact":
        return tuple(_preactivation(shapes, [n.removesuffix(".conv1.weight") for n in shapes if n.endswith(".conv1.weight")]))
    if net.family == "dense":
        blocks = [n.rpartition(".conv")[0] for n in shapes if n.endswith((".conv1.weight", "transition.conv.weight"))]
        return tuple(_preactivation(shapes, blocks))
    if net.family == "bottleneck":
        found = []
        for block in (n.removesuffix(".conv2.weight") for n in shapes if n.endswith(".conv2.weight")):
            for i in (1, 2):
                made, reader = f"{block}.conv{i}.weight", f"{block}.conv{i + 1}.weight"
                found.append(Channels(f"{block}.bn{i}", shapes[made][0], (reader,), made))
        return tuple(found)
    raise ReplibError(f"{net.arch} has no batch normalisation, so no channels to prune; use a VGG, a ResNet or a DenseNet.")


def _preactivation(shapes: Mapping[str, tuple[int, ...]], blocks: Iterable[str]) -> Iterable[Channels]:
    """Normalisations come before the convolutions: the first of a block reads the stream, the second what the block made."""
    for block in blocks:
        if f"{block}.conv.weight" in shapes:  # the transition of a DenseNet
            yield Channels(f"{block}.bn", shapes[f"{block}.conv.weight"][1], (f"{block}.conv.weight",))
            continue
        first, second, short = (f"{block}.{n}.weight" for n in ("conv1", "conv2", "shortcut"))
        # Without a projection the block's input also goes on around it, so there too only what conv1 reads is selected.
        yield Channels(f"{block}.bn1", shapes[first][1], (first, short) if short in shapes else (first,))
        yield Channels(f"{block}.bn2", shapes[first][0], (second,), first)
    yield Channels("bn", shapes["fc.weight"][1], ("fc.weight",))


Kept = Mapping[str, Tensor]
"""Boolean vectors by normalisation: which channels stay."""


def as_masks(sets: Iterable[Channels], kept: Kept, shapes: Mapping[str, tuple[int, ...]]) -> Masks:
    """Masks of the weights in `shapes` that remove the channels which `kept` does not keep: their rows, and the columns that read them."""
    masks = {n: torch.ones(s, dtype=torch.bool) for n, s in shapes.items()}
    for c in sets:
        stays = kept[c.norm].cpu()
        if c.made_by:
            masks[c.made_by][~stays] = False
        for reader in c.read_by:
            masks[reader][:, ~stays] = False
    return masks


def kept_channels(sets: Iterable[Channels], masks: Masks) -> dict[str, Tensor]:
    """The choice behind masks: a channel is gone when nothing reads it any more."""
    return {
        c.norm: torch.stack([masks[r].flatten(2).any(2).any(0) if masks[r].ndim > 2 else masks[r].any(0) for r in c.read_by]).any(0)
        for c in sets
    }


class Selected(nn.Module):
    """A convolution or linear layer that reads only some of the channels that it is given."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, index: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.index_select(1, self.index))


def removed(net: nn.Module, sets: Iterable[Channels], kept: Kept) -> nn.Module:
    """A copy of `net` from which the channels are really gone, on the CPU: smaller weights, same logits in eval() as under the masks.

    torch-pruning's dependency graph gives the same for channels that a convolution makes, but widens a selection behind a normalisation to
    the whole residual stream, which network slimming must not do; hence the few lines here.
    """
    small = copy.deepcopy(net).cpu()
    for c in sets:
        index = kept[c.norm].cpu().nonzero().squeeze(1)
        if len(index) == c.size:
            continue
        for reader in c.read_by:
            name = reader.removesuffix(".weight")
            layer = small.get_submodule(name)
            _cut(layer, index, dim=1)
            if not c.made_by:
                _put(small, name, Selected(layer, index))
        if c.made_by:
            _cut(small.get_submodule(c.made_by.removesuffix(".weight")), index, dim=0)
            _shrink(small.get_submodule(c.norm), index)
    return small


def _put(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(net.get_submodule(parent), own, module)


def _cut(layer: nn.Module, index: Tensor, dim: int) -> None:
    layer = layer.layer if isinstance(layer, Selected) else layer
    layer.weight = nn.Parameter(layer.weight.detach().index_select(dim, index))
    if dim == 0 and layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[index])
    if isinstance(layer, nn.Conv2d):
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]
    else:
        layer.out_features, layer.in_features = layer.weight.shape


def _shrink(norm: nn.Module, index: Tensor) -> None:
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(getattr(norm, name).detach()[index]))
    for name in ("running_mean", "running_var"):
        norm.register_buffer(name, getattr(norm, name)[index])
    norm.num_features = len(index)


def parameters(net: nn.Module, masks: Masks | None = None) -> int:
    """All parameters of `net`, batch normalisation and biases included; of masked weights only those that are kept."""
    masks = masks or {}
    return sum(int(masks[n].sum()) if n in masks else p.numel() for n, p in net.named_parameters())
