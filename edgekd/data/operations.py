"""The fourteen image operations of the strong view, each on a batch with one magnitude an image: no loop over images, no sync.

Source: RandAugment (Cubuk et al. 2020), with the ranges and uniform magnitudes of the swapped-logit reference code. Each does
what Pillow does to 8-bit images: the same truncations, nearest-neighbour geometry, black outside.
Shape suffixes: N images, 3 channels, H, W pixels, P = H·W. Images are uint8 [N,3,H,W]; magnitudes float32 [N].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Apply = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Operation:
    """``apply(images, magnitudes)``; magnitudes are drawn uniformly from [low, high)."""

    name: str
    low: float
    high: float
    apply: Apply


def autocontrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a channel of one value stays. The magnitude means nothing."""
    low_N311 = images.amin((2, 3), keepdim=True).float()
    span_N311 = images.amax((2, 3), keepdim=True).float() - low_N311
    scale_N311 = torch.where(span_N311 > 0, 255 / span_N311.clamp(min=1), 1.0)
    offset_N311 = torch.where(span_N311 > 0, low_N311 * scale_N311, 0.0)
    return _to_uint8(images * scale_N311 - offset_N311 + 1e-4)  # 1e-4: float32 must not truncate a whole number to the one below


def brightness(images: Tensor, magnitudes: Tensor) -> Tensor:
    return _to_uint8(images * _wide(magnitudes) + 1e-4)


def color(images: Tensor, magnitudes: Tensor) -> Tensor:
    return _blend(_grey(images), images, magnitudes)


def contrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    mean_N111 = (_grey(images).float().mean((1, 2, 3), keepdim=True) + 0.5).floor()
    return _blend(mean_N111, images, magnitudes)


def equalize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Flatten each channel's histogram as PIL.ImageOps.equalize does; a channel of one value stays."""
    values_N3P = images.flatten(2).long()
    histogram_N3L = torch.zeros(*values_N3P.shape[:2], 256, dtype=torch.int64, device=images.device)
    histogram_N3L.scatter_add_(2, values_N3P, torch.ones_like(values_N3P))
    total_N31 = histogram_N3L.sum(2, keepdim=True)
    last_N31 = histogram_N3L.gather(2, values_N3P.amax(2, keepdim=True))  # count of the brightest value
    step_N31 = (total_N31 - last_N31) // 255
    before_N3L = histogram_N3L.cumsum(2) - histogram_N3L
    table_N3L = (before_N3L + step_N31 // 2) // step_N31.clamp(min=1)
    unchanged_L = torch.arange(256, device=images.device)
    table_N3L = torch.where(step_N31 > 0, table_N3L.clamp(max=255), unchanged_L).to(torch.uint8)
    return table_N3L.gather(2, values_N3P).view_as(images)


def identity(images: Tensor, magnitudes: Tensor) -> Tensor:
    return images


def posterize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Keep the magnitude's whole part of the eight bits."""
    dropped_N = 8 - magnitudes.floor().to(torch.int32)
    mask_N = (255 << dropped_N) & 255
    return images & _wide(mask_N.to(torch.uint8))


def rotate(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Counter-clockwise by the magnitude in degrees, about the middle."""
    height, width = images.shape[2:]
    cos_N, sin_N = torch.cos(magnitudes * (-math.pi / 180)), torch.sin(magnitudes * (-math.pi / 180))
    x, y = width / 2, height / 2
    return _affine(images, cos_N, sin_N, x - cos_N * x - sin_N * y, -sin_N, cos_N, y + sin_N * x - cos_N * y)


def sharpness(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blend with the image smoothed by a 3x3 kernel (centre 5, others 1); its outermost pixels are not smoothed."""
    smooth = images.float()
    around = F.avg_pool2d(smooth, 3, 1) * 9 + 4 * smooth[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = (around / 13 + 0.5 + 1e-4).floor()
    return _blend(smooth, images, magnitudes)


def shear_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    return _affine(
        images, _one(magnitudes), magnitudes, _zero(magnitudes), _zero(magnitudes), _one(magnitudes), _zero(magnitudes)
    )


def shear_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    return _affine(
        images, _one(magnitudes), _zero(magnitudes), _zero(magnitudes), magnitudes, _one(magnitudes), _zero(magnitudes)
    )


def solarize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Invert what is not darker than the magnitude."""
    return torch.where(images < _wide(magnitudes), images, 255 - images)


def translate_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """By the magnitude times the width."""
    one, zero = _one(magnitudes), _zero(magnitudes)
    return _affine(images, one, zero, magnitudes * images.shape[3], zero, one, zero)


def translate_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """By the magnitude times the height."""
    one, zero = _one(magnitudes), _zero(magnitudes)
    return _affine(images, one, zero, zero, zero, one, magnitudes * images.shape[2])


OPERATIONS = (
    Operation("autocontrast", 0, 1, autocontrast),
    Operation("brightness", 0.05, 0.95, brightness),
    Operation("color", 0.05, 0.95, color),
    Operation("contrast", 0.05, 0.95, contrast),
    Operation("equalize", 0, 1, equalize),
    Operation("identity", 0, 1, identity),
    Operation("posterize", 4, 8, posterize),
    Operation("rotate", -30, 30, rotate),
    Operation("sharpness", 0.05, 0.95, sharpness),
    Operation("shear_x", -0.3, 0.3, shear_x),
    Operation("shear_y", -0.3, 0.3, shear_y),
    Operation("solarize", 0, 256, solarize),
    Operation("translate_x", -0.3, 0.3, translate_x),
    Operation("translate_y", -0.3, 0.3, translate_y),
)


def _affine(images: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """Output pixel (x, y) is input pixel (a·x + b·y + c, d·x + e·y + f), nearest; coordinates of pixel centres end in .5."""
    height, width = images.shape[2:]
    y_H1 = torch.arange(height, device=images.device, dtype=torch.float32)[:, None] + 0.5
    x_W = torch.arange(width, device=images.device, dtype=torch.float32) + 0.5
    a, b, c, d, e, f = (one[:, None, None] for one in (a, b, c, d, e, f))
    column_NHW = (a * x_W + b * y_H1 + c).floor().long()
    row_NHW = (d * x_W + e * y_H1 + f).floor().long()
    inside_NHW = (column_NHW >= 0) & (column_NHW < width) & (row_NHW >= 0) & (row_NHW < height)
    source_NHW = row_NHW.clamp(0, height - 1) * width + column_NHW.clamp(0, width - 1)
    moved_N3P = images.flatten(2).gather(2, source_NHW.flatten(1)[:, None].expand(-1, 3, -1))
    return moved_N3P.view_as(images) * inside_NHW[:, None]


def _grey(images: Tensor) -> Tensor:
    """ITU-R 601 luma in Pillow's 16-bit integers: int32 [N,1,H,W]."""
    red, green, blue = torch.split(images.to(torch.int32), 1, 1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000).bitwise_right_shift(16)


def _blend(other: Tensor, images: Tensor, magnitudes: Tensor) -> Tensor:
    """``other`` at 0, ``images`` at 1, truncated to whole numbers as Pillow's blend does."""
    return _to_uint8(other + _wide(magnitudes) * (images.float() - other) + 1e-4)


def _wide(magnitudes: Tensor) -> Tensor:
    return magnitudes[:, None, None, None]


def _one(magnitudes: Tensor) -> Tensor:
    return torch.ones_like(magnitudes)


def _zero(magnitudes: Tensor) -> Tensor:
    return torch.zeros_like(magnitudes)


def _to_uint8(images: Tensor) -> Tensor:
    return images.clamp(0, 255).to(torch.uint8)
