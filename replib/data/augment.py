"""Augmentation of a whole batch on its device, from a given generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from replib.data.pictures import Pictures
from replib.data.roles import Augmentation, Role


def augment(x: Tensor, rules: Augmentation | Role, generator: torch.Generator) -> Tensor:
    """The batch (N, C, H, W), uint8 in 0..255 or float in [0, 1], augmented by `rules`: float in [0, 1], same shape.

    All random numbers come from `generator`, which must live on the device of `x`. With no rules this only converts.
    """
    if isinstance(rules, Role):
        rules = rules.augmentation
    if rules.pad:
        x = crop(x, rules.pad, generator)
    if rules.flip:
        x = flip(x, generator)
    x = to_float(x)
    if rules.area < 1:
        x = resized_crop(x, rules.area, rules.side or x.shape[2], generator)
    return rotate(x, rules.rotation, generator) if rules.rotation else x


def to_float(x: Tensor | Pictures) -> Tensor:
    """uint8 pixels in 0..255 as float32 in [0, 1]; floats unchanged. Pictures on disk are decoded."""
    if isinstance(x, Pictures):
        x = x.loaded()
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def crop(x: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Zero-pad by `pad` pixels and cut every picture back to its size at one of (2 pad + 1)² equally likely places."""
    n, c, h, w = x.shape
    shift = torch.randint(2 * pad + 1, (2, n, 1), generator=generator, device=x.device)
    rows = shift[0] + torch.arange(h, device=x.device)
    columns = shift[1] + torch.arange(w, device=x.device)
    place = (rows[:, :, None] * (w + 2 * pad) + columns[:, None, :]).view(n, 1, h * w).expand(n, c, h * w)
    return F.pad(x, (pad,) * 4).flatten(2).gather(2, place).view(n, c, h, w)


def resized_crop(x: Tensor, area: float, side: int, generator: torch.Generator) -> Tensor:
    """A part of every picture (float), resampled bilinearly to (N, C, side, side).

    Its share of the area is uniform in [`area`, 1], the logarithm of its width over its height in ±log(4/3), its place uniform.

    Departs: a part that would stick out is narrowed where torchvision's RandomResizedCrop draws again, edges lie between pixels, and
    nothing is blurred before shrinking. ImageNet's parts are cut from the central square at 256 pixels, not from the file's whole picture.
    """
    n, _, h, w = x.shape
    share, shape, across, down = torch.rand(4, n, generator=generator, device=x.device)
    size = (area + (1 - area) * share) * h * w
    ratio = ((2 * shape - 1) * math.log(4 / 3)).exp()
    width, height = (size * ratio).sqrt().clamp(max=w) / w, (size / ratio).sqrt().clamp(max=h) / h
    zero = torch.zeros_like(width)
    # in units of half a picture, from its centre: what is left beside the part is 1 - width on either side
    left, top = (2 * across - 1) * (1 - width), (2 * down - 1) * (1 - height)
    theta = torch.stack([width, zero, left, zero, height, top], 1).view(-1, 2, 3).to(x.dtype)
    grid = F.affine_grid(theta, [n, x.shape[1], side, side], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Every picture mirrored left-right with probability 1/2."""
    coin = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < 0.5
    return torch.where(coin, x.flip(3), x)


def rotate(x: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Every picture (float) turned about its centre by its own angle, uniform in ±`degrees`.

    Nearest pixel and zeros are the defaults of torchvision's RandomRotation, which the papers' code uses.
    """
    angle = torch.rand(len(x), generator=generator, device=x.device).mul_(2).sub_(1).mul_(degrees).deg2rad_()
    return turn(x, angle)


def turn(x: Tensor, angle: Tensor) -> Tensor:
    """Pictures (N, C, H, W) float, turned counter-clockwise by `angle` (N,) in radians."""
    h, w = x.shape[2:]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # grid_sample counts in half sizes; h / w keeps the turn rigid in pixels when the picture is not square
    theta = torch.stack([cos, -sin * h / w, zero, sin * w / h, cos, zero], 1).view(-1, 2, 3).to(x.dtype)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)
