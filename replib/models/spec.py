"""Which network: the choice (:class:`Net`) and what follows from it by arithmetic, without torch.

Full nets are those of the papers; a ``_small`` relative has the same building blocks with free width and depth, for
images of 8x8 to 28x28 pixels. Shapes of weights and scaled widths are computed here, without making a network.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt

from replib.spec import ReplibError, Spec, SpecError, choose, within


@dataclass(frozen=True)
class Arch:
    """An architecture: family of code, base width, blocks in each stage, and whether a spec may change these."""

    family: str
    width: int
    depths: tuple[int, ...]
    free: bool = False


ARCHS = {
    "preact_resnet18": Arch("preact", 64, (2, 2, 2, 2)),
    "wide_resnet34_10": Arch("preact", 160, (5, 5, 5)),
    "vgg16_bn": Arch("vgg", 64, (2, 2, 3, 3, 3)),
    "resnet50": Arch("bottleneck", 64, (3, 4, 6, 3)),
    "resnet50_cifar": Arch("bottleneck", 64, (3, 4, 6, 3)),  # for 32x32: a 3x3 stem, no max-pool
    "densenet40": Arch("dense", 12, (6, 6, 6)),
    "densenet121": Arch("dense", 32, (6, 12, 24, 16)),  # for 64x64: a 3x3 stem, no max-pool
    "mlp": Arch("mlp", 100, (1,)),
    "cnn": Arch("cnn", 32, (1, 1)),
    "preact_resnet_small": Arch("preact", 16, (1, 1, 1), free=True),
    "vgg_small": Arch("vgg", 16, (2, 2, 2), free=True),
    "bottleneck_small": Arch("bottleneck", 16, (1, 1, 1, 1), free=True),
    "densenet_small": Arch("dense", 12, (2, 2, 2), free=True),
    "mlp_small": Arch("mlp", 32, (1,), free=True),
    "cnn_small": Arch("cnn", 16, (1, 1), free=True),
}


@dataclass(frozen=True)
class Net(Spec):
    """A network.

    arch: one of :data:`ARCHS`.
    width: channels of the first stage (growth rate of a DenseNet, second hidden layer of an MLP); None is the
        architecture's own.
    stages, blocks: number of stages and blocks (VGG: convolutions) in each; None is the architecture's own. Only
        ``_small`` nets take other values of these three.
    scale: multiplies every width, rounded to whole channels ("Small Dense").
    stem_stride: 2 halves the pictures in the first convolution of a pre-activation ResNet or a DenseNet; 4 gives a DenseNet the stem
        that torchvision has for ImageNet: a 7x7 convolution, batch normalisation, max-pool.
    channels: explicit channel counts that a pruning method decided. VGG: outputs of every convolution; pre-activation
        ResNet: inner channels of every block, whose outputs are tied by the shortcuts. Empty for none.
    bias: whether the layers of an MLP have biases. Other nets always have those of their definition.
    standardise: mean and standard deviation that the first layer takes off the pixels and divides by; empty for those of the data.
    """

    arch: str = "preact_resnet18"
    width: int | None = None
    stages: int | None = None
    blocks: int | None = None
    scale: float = 1.0
    stem_stride: int = 1
    channels: tuple[int, ...] = ()
    bias: bool = True
    standardise: tuple[float, ...] = ()

    def check(self) -> None:
        arch = ARCHS[choose("Net.arch", self.arch, ARCHS)]
        own = {"width": arch.width, "stages": len(arch.depths), "blocks": arch.depths[0]}
        for field, default in own.items():
            value = getattr(self, field)
            if value is None:
                continue
            within(f"Net.{field}", value, 1)
            if value == default and (field != "blocks" or len(set(arch.depths)) == 1):
                object.__setattr__(self, field, None)  # one net, one key, however it is spelled
            elif not arch.free:
                raise SpecError(
                    f"Net.{field} = {value!r} cannot be changed: {self.arch} has a fixed shape. "
                    f"Use `scale` for another width, or a `_small` architecture."
                )
        if arch.family in ("mlp", "cnn") and (self.stages or self.blocks):
            raise SpecError(f"Net.stages and Net.blocks are not defined for {self.arch}; leave them out.")
        if not self.bias and arch.family != "mlp":
            raise SpecError(f"Net.bias = False is not defined for {self.arch}; use an MLP.")
        within("Net.scale", self.scale, 0, 8, low_open=True)
        if self.standardise and (len(self.standardise) != 2 or self.standardise[1] <= 0):
            raise SpecError(f"Net.standardise = {self.standardise!r} must be a mean and a positive standard deviation of pixels in [0, 1].")
        allowed = {"preact": (1, 2), "dense": (1, 2, 4)}.get(arch.family, (1,))
        if self.stem_stride not in allowed:
            raise SpecError(f"Net.stem_stride = {self.stem_stride!r} is not defined for {self.arch}; {' or '.join(map(str, allowed))} is.")
        if self.channels:
            if arch.family not in ("vgg", "preact"):
                raise SpecError(f"Net.channels is not defined for {self.arch}; use a VGG or a pre-activation ResNet.")
            for c in self.channels:
                within("Net.channels", c, 1)
            if len(self.channels) != sum(self.depths):
                raise SpecError(
                    f"Net.channels has {len(self.channels)} entries but {self.arch} has {sum(self.depths)} "
                    f"prunable widths; give one number for each."
                )

    @property
    def family(self) -> str:
        """Family of code that builds this net."""
        return ARCHS[self.arch].family

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks in each stage."""
        own = ARCHS[self.arch].depths
        if self.stages is None and self.blocks is None:
            return own
        return (self.blocks or own[0],) * (self.stages or len(own))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage after scaling: doubled from stage to stage, in a VGG up to eight times the first."""
        base = self.width or ARCHS[self.arch].width
        if self.family == "mlp":
            return self.scaled(3 * base), self.scaled(base)
        if self.family == "dense":
            return (self.scaled(base),) * len(self.depths)
        most = 8 if self.family == "vgg" else 2 ** len(self.depths)
        return tuple(self.scaled(base * min(2**s, most)) for s in range(len(self.depths)))

    @property
    def stem(self) -> int:
        """Channels of the first convolution of a ResNet."""
        return self.scaled(16) if self.arch == "wide_resnet34_10" else self.widths[0]

    @property
    def expansion(self) -> int:
        """Outputs of a bottleneck block over its inner width: 4 in ResNet-50, 2 in its small relative."""
        return 2 if self.arch == "bottleneck_small" else 4

    @property
    def imagenet_stem(self) -> bool:
        """Whether the net starts with a 7x7 convolution of stride 2 and a max-pool, as ResNet-50 does."""
        return self.arch == "resnet50"

    def scaled(self, width: int) -> int:
        """`width` times the scale, in whole channels, at least one."""
        return max(1, round(self.scale * width))


def map_sizes(net: Net, shape: Sequence[int]) -> list[int]:
    """Side of the maps of each stage for images of `shape` (C, H, W); empty for an MLP."""
    side = min(shape[1:])
    sizes = []
    if net.imagenet_stem:
        side = (side + 3) // 4
    side = (side + net.stem_stride - 1) // net.stem_stride
    for stage in range(0 if net.family == "mlp" else len(net.depths)):
        if stage:  # pooling rounds down, a strided convolution rounds up
            side = side // 2 if net.family in ("vgg", "cnn", "dense") else (side + 1) // 2
        sizes.append(side)
    return sizes


def refuse_dead_weights(net: Net, shape: Sequence[int]) -> None:
    """Raise if taps of a kernel would only see padding: such weights have no gradient and their sparsity is free."""
    least = 3 if net.family == "cnn" else 2
    sizes = map_sizes(net, shape)
    if sizes and min(sizes) < least:
        live = sum(s >= least for s in sizes)
        remedy = "use" if net.family == "cnn" else f"use a `_small` architecture with stages={live} or fewer, or"
        raise ReplibError(
            f"{net.arch} with {len(sizes)} stages on {shape[1]}x{shape[2]} images ends on maps of "
            f"{sizes[-1]}x{sizes[-1]}, where most kernel taps only ever see padding; {remedy} larger images."
        )


def weight_shapes(net: Net, classes: int, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shape of every convolution and linear weight by parameter name, in forward order; no torch, nothing allocated."""
    return _SHAPES[net.family](net, classes, tuple(shape))


def _preact(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    out = {"stem.weight": (net.stem, shape[0], 3, 3)}
    inner = iter(net.channels or [w for w, n in zip(net.widths, net.depths, strict=True) for _ in range(n)])
    before = net.stem
    for s, (width, depth) in enumerate(zip(net.widths, net.depths, strict=True)):
        for b in range(depth):
            hidden = next(inner)
            name = f"stages.{s}.{b}"
            out[f"{name}.conv1.weight"] = (hidden, before, 3, 3)
            out[f"{name}.conv2.weight"] = (width, hidden, 3, 3)
            if before != width or (b == 0 and s > 0):
                out[f"{name}.shortcut.weight"] = (width, before, 1, 1)
            before = width
    return out | {"fc.weight": (classes, before)}


def _vgg(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    channels = net.channels or [w for w, n in zip(net.widths, net.depths, strict=True) for _ in range(n)]
    inputs = [shape[0], *channels[:-1]]
    convs = {f"convs.{i}.weight": (o, c, 3, 3) for i, (c, o) in enumerate(zip(inputs, channels, strict=True))}
    return convs | {"fc.weight": (classes, channels[-1])}


def _bottleneck(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    side = 7 if net.imagenet_stem else 3
    out = {"conv1.weight": (net.stem, shape[0], side, side)}
    before = net.stem
    for s, (width, depth) in enumerate(zip(net.widths, net.depths, strict=True)):
        for b in range(depth):
            after, name = width * net.expansion, f"layer{s + 1}.{b}"
            out[f"{name}.conv1.weight"] = (width, before, 1, 1)
            out[f"{name}.conv2.weight"] = (width, width, 3, 3)
            out[f"{name}.conv3.weight"] = (after, width, 1, 1)
            if b == 0:
                out[f"{name}.downsample.0.weight"] = (after, before, 1, 1)
            before = after
    return out | {"fc.weight": (classes, before)}


def _dense(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    growth = net.widths[0]
    channels = 2 * growth
    side = 7 if net.stem_stride == 4 else 3
    out: dict[str, tuple[int, ...]] = {"stem.weight": (channels, shape[0], side, side)}
    for s, depth in enumerate(net.depths):
        if s:
            out[f"stages.{s}.transition.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
        for b in range(depth):
            out[f"stages.{s}.{b}.conv1.weight"] = (4 * growth, channels, 1, 1)
            out[f"stages.{s}.{b}.conv2.weight"] = (growth, 4 * growth, 3, 3)
            channels += growth
    return out | {"fc.weight": (classes, channels)}


def _mlp(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    first, second = net.widths
    return {"fc1.weight": (first, prod(shape)), "fc2.weight": (second, first), "fc3.weight": (classes, second)}


def _cnn(net: Net, classes: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    first, second = net.widths
    hidden = net.scaled(32 * (net.width or ARCHS[net.arch].width)) if net.arch == "cnn" else 8 * first
    flat = second * (shape[1] // 4) * (shape[2] // 4)
    return {
        "conv1.weight": (first, shape[0], 5, 5),
        "conv2.weight": (second, first, 5, 5),
        "fc1.weight": (hidden, flat),
        "fc2.weight": (classes, hidden),
    }


_SHAPES = {"preact": _preact, "vgg": _vgg, "bottleneck": _bottleneck, "dense": _dense, "mlp": _mlp, "cnn": _cnn}


PAPER_SCALES = {0.05: 0.223, 0.1: 0.316, 0.2: 0.448, 0.6: 0.775, 0.8: 0.895}
"""Width scales by density in the official code of Sparsity Winning Twice: exact to 0.07 points for PreAct-ResNet-18."""


@functools.cache
def small_dense(net: Net, density: float, classes: int, shape: tuple[int, ...]) -> Net:
    """`net` with its width scaled so that it holds about `density` times as many convolution and linear weights.

    The scale (three decimals, so that keys stay readable) is the one whose weight count comes nearest; of equally good
    ones the nearest to sqrt(density). For the two nets of Sparsity Winning Twice (Tables 1 and A2, "Small Dense") the
    scales are :data:`PAPER_SCALES` where these have the density.
    """
    within("density", density, 0, 1, low_open=True)
    if net.channels:
        raise SpecError("Net.channels fixes the widths that small_dense would scale; pass a net without channels.")

    if net.arch in ("preact_resnet18", "vgg16_bn") and net.scale == 1 and density in PAPER_SCALES:
        return replace(net, scale=PAPER_SCALES[density])

    def count(scale: float) -> int:
        return sum(map(prod, weight_shapes(replace(net, scale=scale), classes, shape).values()))

    target = density * count(net.scale)
    scales = [round(net.scale * i / 1000, 6) for i in range(1, 1001)]
    # The count never falls as the scale grows, so that equal counts stand in a row.
    first_above = bisect_right(scales, target, key=count)
    neighbours = [count(s) for s in scales[max(0, first_above - 1) : first_above + 1]]
    best = min(neighbours, key=lambda n: abs(n - target))
    near = scales[bisect_left(scales, best, key=count) : bisect_right(scales, best, key=count)]
    return replace(net, scale=min(near, key=lambda s: abs(s - net.scale * sqrt(density))))
