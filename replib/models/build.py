"""Networks as modules: float images in [0, 1] of shape (B, C, H, W) to logits of shape (B, K).

Every net normalises its input itself, so that attacks and their radii live in pixel space. Nothing works in place, no
forward pass branches on values: all nets run in channels-last memory, under ``torch.func.functional_call`` and under
``torch.compile``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from replib.models.spec import Net, refuse_dead_weights, weight_shapes
from replib.spec import choose


class Normalize(nn.Module):
    """(x - mean) / std by channel. The constants are buffers that are not saved with the weights."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _conv(shape: Sequence[int], stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Convolution with weights of `shape` (O, I, k, k) and padding that keeps the size at stride 1."""
    out, inputs, side, _ = shape
    return nn.Conv2d(inputs, out, side, stride, padding=side // 2, bias=bias)


class PreActBlock(nn.Module):
    """conv(relu(BN(conv(h)))) + shortcut, h = relu(BN(x)): a projection reads h, the identity x (He et al. 2016)."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], name: str, stride: int) -> None:
        super().__init__()
        first, second = shapes[f"{name}.conv1.weight"], shapes[f"{name}.conv2.weight"]
        self.bn1 = nn.BatchNorm2d(first[1])
        self.conv1 = _conv(first, stride)
        self.bn2 = nn.BatchNorm2d(second[1])
        self.conv2 = _conv(second)
        projection = shapes.get(f"{name}.shortcut.weight")
        self.shortcut = _conv(projection, stride) if projection else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(x))
        short = x if self.shortcut is None else self.shortcut(h)
        return self.conv2(F.relu(self.bn2(self.conv1(h)))) + short


class PreActResNet(nn.Module):
    """PreAct-ResNet-18 of Sparsity Winning Twice, WRN-34-10 (Zagoruyko and Komodakis 2016) and small relatives."""

    def __init__(self, net: Net, shapes: dict[str, tuple[int, ...]], normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        self.stem = _conv(shapes["stem.weight"], net.stem_stride)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(*(PreActBlock(shapes, f"stages.{s}.{b}", 2 if s and not b else 1) for b in range(depth)))
                for s, depth in enumerate(net.depths)
            )
        )
        classes, last = shapes["fc.weight"]
        self.bn = nn.BatchNorm2d(last)
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(self.normalize(x)))
        return self.fc(F.relu(self.bn(x)).mean((2, 3)))


class VGG(nn.Module):
    """Convolution (with bias), batch norm, ReLU; a 2x2 max-pool after each stage; one linear layer.

    VGG-16-BN of Sparsity Winning Twice on 32x32 images ends on one pixel; elsewhere what is left is averaged.
    """

    def __init__(self, net: Net, shapes: dict[str, tuple[int, ...]], normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        classes, last = shapes["fc.weight"]
        convs = [shape for shape in shapes.values() if len(shape) == 4]
        self.convs = nn.ModuleList(_conv(shape, bias=True) for shape in convs)
        self.bns = nn.ModuleList(nn.BatchNorm2d(shape[0]) for shape in convs)
        ends, total = set(), 0
        for depth in net.depths:
            total += depth
            ends.add(total - 1)
        self.pooled = frozenset(ends)
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalize(x)
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            x = F.relu(bn(conv(x)))
            if i in self.pooled:
                x = F.max_pool2d(x, 2)
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, "v1.5") and 1x1 convolutions with batch norm, named as in torchvision."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], name: str, stride: int) -> None:
        super().__init__()
        for i in (1, 2, 3):
            shape = shapes[f"{name}.conv{i}.weight"]
            setattr(self, f"conv{i}", _conv(shape, stride if i == 2 else 1))
            setattr(self, f"bn{i}", nn.BatchNorm2d(shape[0]))
        projection = shapes.get(f"{name}.downsample.0.weight")
        self.downsample = nn.Sequential(_conv(projection, stride), nn.BatchNorm2d(projection[0])) if projection else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(h)))))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class BottleneckResNet(nn.Module):
    """ResNet-50 of Double-Win Lottery Tickets, named as in torchvision so that checkpoints load, and a relative."""

    def __init__(self, net: Net, shapes: dict[str, tuple[int, ...]], normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        self.reduce = net.imagenet_stem
        self.conv1 = _conv(shapes["conv1.weight"], 2 if self.reduce else 1)
        self.bn1 = nn.BatchNorm2d(net.stem)
        names = []
        for s, depth in enumerate(net.depths, 1):
            blocks = (Bottleneck(shapes, f"layer{s}.{b}", 2 if s > 1 and not b else 1) for b in range(depth))
            setattr(self, f"layer{s}", nn.Sequential(*blocks))
            names.append(f"layer{s}")
        self.names = tuple(names)
        classes, last = shapes["fc.weight"]
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.normalize(x))))
        if self.reduce:
            x = F.max_pool2d(x, 3, 2, 1)
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


class DenseLayer(nn.Module):
    """BN-ReLU-conv1x1, BN-ReLU-conv3x3; the new channels are appended to the input (Huang et al. 2017, "B")."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], name: str) -> None:
        super().__init__()
        first, second = shapes[f"{name}.conv1.weight"], shapes[f"{name}.conv2.weight"]
        self.bn1 = nn.BatchNorm2d(first[1])
        self.conv1 = _conv(first)
        self.bn2 = nn.BatchNorm2d(second[1])
        self.conv2 = _conv(second)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """BN-ReLU-conv1x1 to half the channels, 2x2 average pool ("C")."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(shape[1])
        self.conv = _conv(shape)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """DenseNet-BC-40-12 and DenseNet-121 of Achieving Robustness via Sparsity, and a small relative."""

    def __init__(self, net: Net, shapes: dict[str, tuple[int, ...]], normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        self.stem = _conv(shapes["stem.weight"], min(2, net.stem_stride))
        self.stem_bn = nn.BatchNorm2d(len(self.stem.weight)) if net.stem_stride == 4 else None
        self.stages = nn.Sequential()
        for s, depth in enumerate(net.depths):
            stage = nn.Sequential()
            if s:
                stage.add_module("transition", Transition(shapes[f"stages.{s}.transition.conv.weight"]))
            for b in range(depth):
                stage.add_module(str(b), DenseLayer(shapes, f"stages.{s}.{b}"))
            self.stages.append(stage)
        classes, last = shapes["fc.weight"]
        self.bn = nn.BatchNorm2d(last)
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.normalize(x))
        if self.stem_bn is not None:
            x = F.max_pool2d(F.relu(self.stem_bn(x)), 3, 2, 1)
        return self.fc(F.relu(self.bn(self.stages(x))).mean((2, 3)))


class MLP(nn.Module):
    """Two hidden layers with ReLU: 300-100 in Adversarial Winning Tickets (LeCun et al. 1998)."""

    def __init__(self, net: Net, shapes: dict[str, tuple[int, ...]], normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        for name, (out, inputs) in shapes.items():
            setattr(self, name.removesuffix(".weight"), nn.Linear(inputs, out, bias=net.bias))

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalize(x).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class CNN(nn.Module):
    """conv, pool, conv, pool, linear, linear, without batch norm: the CNN of Adversarial Winning Tickets.

    Departs: the paper does not print kernel sizes; 5x5 kernels that keep the size follow Madry et al. (2018) for MNIST.
    """

    def __init__(self, net: Net, shapes: dict[str, tuple[int, ...]], normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        self.conv1 = _conv(shapes["conv1.weight"], bias=True)
        self.conv2 = _conv(shapes["conv2.weight"], bias=True)
        self.fc1 = nn.Linear(*reversed(shapes["fc1.weight"]))
        self.fc2 = nn.Linear(*reversed(shapes["fc2.weight"]))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(self.normalize(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


_FAMILIES = {
    "preact": PreActResNet,
    "vgg": VGG,
    "bottleneck": BottleneckResNet,
    "dense": DenseNet,
    "mlp": MLP,
    "cnn": CNN,
}


def build(
    net: Net,
    *,
    classes: int,
    shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    generator: torch.Generator,
) -> nn.Module:
    """The module of `net` on the CPU, in training mode, for images of `shape` (C, H, W) and `classes` classes.

    Weights follow PyTorch's default initialisation, drawn from `generator` alone (one draw, which seeds the module's
    construction): equal generator states give bitwise equal weights and the global generator is left as it was.
    Convolutions of WRN-34-10 are drawn from a normal law with variance 2 / fan-out, as its authors do. Raises
    :class:`~replib.spec.ReplibError` if the images are so small that weights of the net would be dead.
    """
    refuse_dead_weights(net, shape)
    if net.standardise:
        mean, std = ([value] * shape[0] for value in net.standardise)
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _FAMILIES[net.family](net, weight_shapes(net, classes, shape), Normalize(mean, std))
        if net.arch == "wide_resnet34_10":
            for module in model.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


@torch.no_grad()
def glorot_(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """`model` with weights of convolutions and linear layers drawn anew, N(0, 2 / (fan-in + fan-out)), and their biases N(0, 0.01²)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 0.01, generator=generator)
    return model


def prunable(model: nn.Module, scope: str = "all") -> dict[str, nn.Parameter]:
    """Weights that a pruning method may remove, by parameter name, in forward order.

    scope "all": matrices and kernels (Sparsity Winning Twice, Adversarial Winning Tickets); "conv": kernels only, so
    neither the classifier nor another linear layer (Achieving Robustness via Sparsity, Double-Win Lottery Tickets).
    Biases and batch norm never.
    """
    dims = {"all": (2, 4), "conv": (4,)}[choose("scope", scope, ("all", "conv"))]
    return {name: p for name, p in model.named_parameters() if p.ndim in dims and not name.endswith("bias")}
