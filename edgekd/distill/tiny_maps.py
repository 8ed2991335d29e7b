"""Convolutions on feature maps smaller than their kernel, without oneDNN's slow path there; the mathematics is the same.

Small pictures (32² for a network made for 224²) end in 2×2 and 1×1 maps under 3×3 kernels. Measured with torch 2.15 on a
two-core AVX2 CPU at batch 64: oneDNN's weight gradient of a depthwise 3×3 takes 0.2 ms on 4×4 maps and 9 to 20 ms on 2×2 and
1×1 ones; of a dense 512→512 one, 44 ms on 1×1 maps. Together that is more than half of a training step of MobileNetV2 or
ResNet-18. Here a kernel that covers the whole map becomes a product with the taps that meet a pixel, and for the rest the
weight gradient is one matrix product (dense) or a multiply-and-sum for each tap (depthwise).

Shape suffixes in this file: B batch, I input channels, O output channels, H W rows and columns of a map, K L of a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@contextmanager
def quick_tiny_maps(*networks: nn.Module) -> Iterator[None]:
    """While inside, the networks' float32 convolutions on a CPU take the quick way wherever the map is smaller than the kernel.

    Weights, hooks and state dicts stay as they are; results differ from torch's own only in the rounding of sums.
    """
    convolutions = dict.fromkeys(module for network in networks for module in network.modules() if _is_candidate(module))
    for convolution in convolutions:
        vars(convolution)["_conv_forward"] = partial(_forward, convolution)  # what nn.Conv2d.forward calls
    try:
        yield
    finally:
        for convolution in convolutions:
            del vars(convolution)["_conv_forward"]


def _is_candidate(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """A plain convolution with a kernel above 1×1, dense or depthwise, padded by zeros in numbers.

    A subclass is plain if it convolves as nn.Conv2d does, with whatever weight (a rounded one, say).
    """
    return (
        isinstance(module, nn.Conv2d)
        and type(module)._conv_forward is nn.Conv2d._conv_forward
        and max(module.kernel_size) > 1
        and module.groups in (1, module.in_channels)
        and (module.groups == 1 or module.in_channels == module.out_channels)
        and module.padding_mode == "zeros"
        and module.dilation == (1, 1)
    )


def _forward(convolution: nn.Conv2d, x_BIHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    (height, width), (rows, columns) = x_BIHW.shape[-2:], convolution.kernel_size
    quick = x_BIHW.is_cpu and x_BIHW.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not quick or (height >= rows and width >= columns) or isinstance(convolution.padding, str):
        plain: Tensor = nn.Conv2d._conv_forward(convolution, x_BIHW, weight, bias)
        return plain
    (down, right), (above, left) = convolution.stride, convolution.padding
    out_height, out_width = (height + 2 * above - rows) // down + 1, (width + 2 * left - columns) // right + 1
    if (out_height, out_width) == (1, 1) and rows - above >= height and columns - left >= width:
        taps: Tensor = _Taps.apply(weight, slice(above, above + height), slice(left, left + width))
        return _covering(x_BIHW, taps, bias)
    out: Tensor = _TinyMap.apply(x_BIHW, weight, bias, (down, right), (above, left), convolution.groups)
    return out


def _covering(x_BIHW: Tensor, taps: Tensor, bias: Tensor | None) -> Tensor:
    """One output position that sees the whole map: ``taps`` [O, I, H, W], or [I, 1, H, W] for a depthwise convolution."""
    if taps.shape[1] == x_BIHW.shape[1]:
        return F.linear(x_BIHW.flatten(1), taps.flatten(1), bias)[:, :, None, None]
    out_BI11 = (x_BIHW * taps[:, 0]).sum((2, 3), keepdim=True)
    return out_BI11 if bias is None else out_BI11 + bias[:, None, None]


class _Taps(torch.autograd.Function):
    """A part of each kernel, whose gradient has the memory order of the weight: else it is copied before the optimiser's step,
    and in it. On 512 channels that took longer than the rest of the convolution."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: slice, columns: slice) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.part = (..., rows, columns)
        return weight[..., rows, columns].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        gradient = torch.zeros_like(weight)
        gradient[ctx.part] = grad
        return gradient, None, None


class _TinyMap(torch.autograd.Function):
    """torch's convolution with another weight gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BIHW: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(x_BIHW, weight)
        ctx.stride, ctx.padding, ctx.groups = stride, padding, groups
        return torch.conv2d(x_BIHW, weight, bias, stride, padding, 1, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BOHW: Tensor) -> tuple[Tensor | None, ...]:
        x_BIHW, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = None
        if wants_x:
            grad_x = torch.ops.aten.convolution_backward(
                grad_BOHW, x_BIHW, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), ctx.groups, (True, False, False)
            )[0]
        if wants_weight:
            make = _dense_weight_gradient if ctx.groups == 1 else _depthwise_weight_gradient
            grad_weight = make(grad_BOHW, x_BIHW, weight, ctx.stride, ctx.padding)
        return grad_x, grad_weight, grad_BOHW.sum((0, 2, 3)) if wants_bias else None, None, None, None


def _windows(x_BIHW: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """View [B, I, H', W', K, L] of the padded map: what each of the H'×W' output positions sees."""
    padded = F.pad(x_BIHW, (padding[1], padding[1], padding[0], padding[0]))
    return padded.unfold(2, weight.shape[2], stride[0]).unfold(3, weight.shape[3], stride[1])


def _dense_weight_gradient(
    grad_BOHW: Tensor, x_BIHW: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    seen = _windows(x_BIHW, weight, stride, padding).permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(0, 2)  # [B·H'·W', K·L·I]
    gradient = grad_BOHW.permute(1, 0, 2, 3).flatten(1) @ seen  # [O, K·L·I]
    return gradient.view(weight.shape[0], *weight.shape[2:], weight.shape[1]).permute(0, 3, 1, 2)


def _depthwise_weight_gradient(
    grad_BOHW: Tensor, x_BIHW: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    seen, gradient = _windows(x_BIHW, weight, stride, padding), torch.empty_like(weight)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            gradient[:, 0, row, column] = (grad_BOHW * seen[..., row, column]).sum((0, 2, 3))
    return gradient
