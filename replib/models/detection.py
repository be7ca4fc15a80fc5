"""Instance segmentation on top of a ticket: torchvision's Mask R-CNN with a network of ours as its backbone (C, Figure A10)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from replib.models.build import BottleneckResNet

BODY = "backbone.body."
"""What the names of the backbone's parameters begin with."""


class Pyramid(nn.Module):
    """The stages of a :class:`~replib.models.build.BottleneckResNet`, its classifier left out, as a feature pyramid of `out_channels`."""

    def __init__(self, net: BottleneckResNet, out_channels: int = 256) -> None:
        super().__init__()
        self.body = net
        self.body.fc = nn.Identity()
        widths = [getattr(net, name)[-1].bn3.num_features for name in net.names]
        self.fpn = FeaturePyramidNetwork(widths, out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        body = self.body
        x = F.relu(body.bn1(body.conv1(body.normalize(x))))
        if body.reduce:
            x = F.max_pool2d(x, 3, 2, 1)
        levels = OrderedDict()
        for i, name in enumerate(body.names):
            x = levels[str(i)] = getattr(body, name)(x)  # the numbers by which torchvision's heads look for them
        return self.fpn(levels)


def mask_rcnn(net: BottleneckResNet, classes: int = 20, **choices: object) -> MaskRCNN:
    """Mask R-CNN (He et al., 2017) for `classes` kinds of objects with the weights of `net` as its backbone; `net` becomes part of it.

    `choices` go to torchvision, such as ``min_size=800``. Pictures come in [0, 1], for `net` normalises them.

    Departs: the paper gives no settings of its experiment; these are torchvision's, with a backbone of which every layer is trained.
    """
    channels = net.conv1.in_channels
    return MaskRCNN(Pyramid(net), classes + 1, image_mean=[0.0] * channels, image_std=[1.0] * channels, **choices)


def backbone_masks(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ticket's `masks` by the names that the backbone's parameters have in :func:`mask_rcnn`."""
    return {BODY + name: m for name, m in masks.items()}
