"""Random views of a batch: weak (crop, flip) and strong (crop, flip, two operations, cutout), all images at once.

All random numbers of a view are one torch.rand on the host, so that a seed gives the same views on every device, which operation
falls to which image is known without asking the device, and nothing waits for it.
Shape suffixes: B images, H, W pixels. Views are uint8 [B,3,H,W]; stored images uint8 [B,H',W',3].
Source of the strong view: the swapped-logit reference code; its cutout is always on, with a side uniform in 0..half the width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from edgekd.data.operations import OPERATIONS

VIEWS = ("weak", "strong")
PADDING = 1 / 8  # of the side: 4 pixels of 32, as is usual for CIFAR
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # random resized crop (Szegedy et al. 2015): share of the area, width to height
STRONG_OPERATIONS = 2
CUTOUT_SIDE = 0.5  # of the width, at most
CUTOUT_FILL = (125, 123, 114)
_CROP_DRAWS, _OPERATION_DRAWS, _CUTOUT_DRAWS = 5, 2 * STRONG_OPERATIONS, 3


def weak_view(
    images: Tensor, size: Sequence[int], *, hflip: bool, generator: Generator, share: tuple[int, int] = (0, 1)
) -> Tensor:
    """Random crop to ``size`` (h, w) and, if ``hflip``, a mirror image every other time: uint8 [B,3,h,w].

    Images stored at ``size`` are shifted by up to an eighth of it, black flowing in; larger ones get a random resized crop.
    generator: on the host. share: (which, of how many): the images are this one of a batch's equal parts, and get the views they
    have in the whole.
    """
    return _crop(images, size, hflip, _draws(len(images), _CROP_DRAWS, generator, share))


def strong_view(
    images: Tensor, size: Sequence[int], *, hflip: bool, generator: Generator, share: tuple[int, int] = (0, 1)
) -> Tensor:
    """A weak view of its own, then two of the fourteen operations (with replacement), then cutout: uint8 [B,3,h,w]."""
    draws = _draws(len(images), _CROP_DRAWS + _OPERATION_DRAWS + _CUTOUT_DRAWS, generator, share)
    crop_draws, operation_draws, cutout_draws = torch.split(draws, [_CROP_DRAWS, _OPERATION_DRAWS, _CUTOUT_DRAWS], 1)
    view = _crop(images, size, hflip, crop_draws)
    for turn in operation_draws.view(len(images), STRONG_OPERATIONS, 2).unbind(1):
        view = operate(view, *turn.unbind(1))
    return cutout(view, *cutout_draws.unbind(1))


def normalized(view: Tensor, preprocessing: Mapping[str, Any]) -> Tensor:
    """uint8 [B,3,H,W] to float32: (x / 255 - mean) / std, as device.preprocess.normalize but for the last bit."""
    mean, std = (torch.tensor(preprocessing[key], dtype=torch.float64)[:, None, None] for key in ("mean", "std"))
    scale, shift = (1 / (255 * std)).float(), (mean / std).float()
    return view.float().mul_(scale.to(view.device, non_blocking=True)).sub_(shift.to(view.device, non_blocking=True))


def operate(view: Tensor, which_B: Tensor, strength_B: Tensor) -> Tensor:
    """One operation an image: number floor(14 · which), magnitude low + strength · (high - low); both on the host, in [0,1)."""
    chosen_B = (which_B * len(OPERATIONS)).long()
    view = view.clone()
    for number, operation in enumerate(OPERATIONS):
        rows = (chosen_B == number).nonzero().squeeze(1)
        if len(rows) == 0 or operation.name == "identity":
            continue
        magnitudes = (operation.low + strength_B[rows] * (operation.high - operation.low)).to(view.device, non_blocking=True)
        rows = rows.to(view.device, non_blocking=True)
        view.index_copy_(0, rows, operation.apply(view.index_select(0, rows), magnitudes))
    return view


def cutout(view: Tensor, side_B: Tensor, x_B: Tensor, y_B: Tensor) -> Tensor:
    """Paint one square an image; side and centre from host float32 [B] in [0,1). What reaches over an edge is lost."""
    height, width = view.shape[2:]
    side_B = side_B * (CUTOUT_SIDE * width)
    left_B, top_B = (x_B * width - side_B / 2).clamp(min=0).floor(), (y_B * height - side_B / 2).clamp(min=0).floor()
    boxes = torch.stack([left_B, left_B + side_B, top_B, top_B + side_B]).to(view.device, non_blocking=True)[:, :, None]
    x_W, y_H = torch.arange(width, device=view.device), torch.arange(height, device=view.device)
    columns_BW, rows_BH = (x_W >= boxes[0]) & (x_W < boxes[1]), (y_H >= boxes[2]) & (y_H < boxes[3])
    fill = torch.tensor(CUTOUT_FILL, dtype=torch.uint8).to(view.device, non_blocking=True)[:, None, None]
    return torch.where((rows_BH[:, :, None] & columns_BW[:, None, :])[:, None], fill, view)


def _draws(images: int, numbers: int, generator: Generator, share: tuple[int, int]) -> Tensor:
    which, shares = share
    return torch.rand(images * shares, numbers, generator=generator)[which * images : (which + 1) * images]


def _crop(images: Tensor, size: Sequence[int], hflip: bool, draws: Tensor) -> Tensor:
    mirrored_B = (draws[:, 4] < 0.5) & hflip
    if tuple(images.shape[1:3]) == tuple(size):
        return _shifted(images, draws, mirrored_B)
    return _resized_crop(images, size, draws, mirrored_B)


def _shifted(images: Tensor, draws: Tensor, mirrored_B: Tensor) -> Tensor:
    """Pad with black, crop back at a whole-pixel offset."""
    batch, height, width = images.shape[:3]
    pad_h, pad_w = round(height * PADDING), round(width * PADDING)
    padded = F.pad(images, (0, 0, pad_w, pad_w, pad_h, pad_h))
    rows_BH = (draws[:, 0:1] * (2 * pad_h + 1)).long() + torch.arange(height)
    columns_BW = torch.where(mirrored_B[:, None], torch.arange(width - 1, -1, -1), torch.arange(width))
    columns_BW = (draws[:, 1:2] * (2 * pad_w + 1)).long() + columns_BW
    which_B = torch.arange(batch) * padded.shape[1]
    pixels_BHW = (which_B[:, None] + rows_BH)[:, :, None] * padded.shape[2] + columns_BW[:, None, :]
    pixels = padded.reshape(-1, 3).index_select(0, pixels_BHW.view(-1).to(images.device, non_blocking=True))
    return pixels.view(batch, height, width, 3).permute(0, 3, 1, 2).contiguous()


def _resized_crop(images: Tensor, size: Sequence[int], draws: Tensor, mirrored_B: Tensor) -> Tensor:
    """A box of random area, shape and place, resized bilinearly; a box too long for the image is cut to it."""
    log_low, log_high = math.log(RATIO[0]), math.log(RATIO[1])
    side_B = (AREA[0] + draws[:, 0] * (AREA[1] - AREA[0])).sqrt()  # of a box as square as the image, in image sides
    stretch_B = (0.5 * (log_low + draws[:, 1] * (log_high - log_low))).exp()
    width_B, height_B = (side_B * stretch_B).clamp(max=1), (side_B / stretch_B).clamp(max=1)
    middle_x_B = (draws[:, 2] * 2 - 1) * (1 - width_B)  # grid_sample's coordinates: -1 and 1 are the image's edges
    middle_y_B = (draws[:, 3] * 2 - 1) * (1 - height_B)
    width_B = torch.where(mirrored_B, -width_B, width_B)
    zero_B = torch.zeros_like(width_B)
    theta_B23 = torch.stack([width_B, zero_B, middle_x_B, zero_B, height_B, middle_y_B], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta_B23.to(images.device, non_blocking=True), [len(images), 3, *size], align_corners=False)
    pixels = images.permute(0, 3, 1, 2).float()
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False).round_().to(torch.uint8)
