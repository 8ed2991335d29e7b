"""Fake quantization: round to an integer grid in float, so that training and simulation see what the integers will do.

One rule everywhere (ONNX QuantizeLinear / DequantizeLinear): divide by the float32 scale, round half to even, saturate, multiply.
Multiplying by the reciprocal, or adding the zero point before rounding, differs from onnxruntime on a few values in a million.
CUDA multiplies by it where the divisor is a plain number or lies on the host: so divisors lie where the dividend does.
Shape suffixes: C output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekd.core.rounding import BIAS_BITS, LEAST_SCALE

ACTIVATION_LEVELS = (0, 255)  # uint8, as onnxruntime's x86 and Arm kernels want activations
WEIGHT_LEVELS = {"ort": 127, "ort-w7": 64, "trt": 127}  # largest |q|; -128 is never used, 64 cannot saturate 16-bit sums
FAMILY = {"ort": "ort", "ort-w7": "ort", "trt": "trt"}  # flavours of one family have the same sites, grids and kind of bias


@dataclass(frozen=True)
class Grid:
    """A uint8 grid: real = (q - zero_point) * scale, q in 0..255. scale is exactly representable in float32.

    Zero point 128 is the int8 grid of zero point 0, the only one TensorRT knows: q - 128 in -128..127.
    """

    scale: float
    zero_point: int

    @staticmethod
    def of(low: float, high: float, signed: bool) -> Grid:
        """The grid onnxruntime's flavour uses for values in [low, high].

        Not signed and low >= 0: zero point 0, all 255 steps above zero. Not signed and low < 0 (HardSwish, SiLU: a short
        negative tail): an asymmetric grid. Signed: zero point 128, the same grid as int8 with zero point 0 and scale max(-low,
        high) / 127.
        """
        if signed:
            return Grid(_float32(max(-low, high) / 127), 128)
        scale = _float32((high - min(low, 0.0)) / 255)
        return Grid(scale, int(np.rint(-min(low, 0.0) / scale)))

    @property
    def levels(self) -> tuple[int, int]:
        """Lowest and highest integer after the zero point is taken off."""
        return ACTIVATION_LEVELS[0] - self.zero_point, ACTIVATION_LEVELS[1] - self.zero_point


def _float32(scale: float) -> float:
    """The float32 nearest to scale, but never above it: 255 steps must not reach past a Clip, or onnxruntime keeps the Clip."""
    nearest = np.float32(max(scale, LEAST_SCALE))
    return float(nearest if float(nearest) <= max(scale, LEAST_SCALE) else np.nextafter(nearest, np.float32(0)))


class _StraightThrough(torch.autograd.Function):
    """Gradient one inside the range, zero where the value saturated; none through the scale."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        steps = values / scale
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((steps >= low - 0.5) & (steps <= high + 0.5))
        return steps.round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


def fake_quantize(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """clamp(round_half_even(values / scale), low, high) * scale, with a straight-through gradient.

    values: float32 of any shape. scale: float32 on the same device, one value or broadcastable to values (per channel:
    [C,1,1,1]). low, high: integer levels after the zero point is taken off. Bit-equal to ONNX QuantizeLinear, then
    DequantizeLinear.
    """
    result: Tensor = _StraightThrough.apply(values, scale, low, high)
    return result


def weight_scale(weight: Tensor, bias: Tensor | None, input_scale: float, levels: int) -> Tensor:
    """Scale [C] per output channel (axis 0): max|w| / levels, raised where the bias would leave int32 (dead channels).

    weight: float32 [C, ...]; bias: float32 [C] or None; input_scale: of the layer's input grid.
    """
    scale_C = weight.detach().flatten(1).abs().amax(1) / weight.new_full((), levels)
    if bias is not None:
        most = float(np.float32(input_scale) * np.float32(2**BIAS_BITS))
        scale_C = torch.maximum(scale_C, bias.detach().abs() / bias.new_full((), most))
    return scale_C.clamp_min(LEAST_SCALE)


def fake_quantize_weight(weight: Tensor, scale_C: Tensor, levels: int) -> Tensor:
    """Weights on their int8 grid, per output channel (axis 0)."""
    return fake_quantize(weight, scale_C.reshape(-1, *[1] * (weight.dim() - 1)), -levels, levels)


def round_bias(bias: Tensor, scale_C: Tensor, input_scale: float) -> Tensor:
    """Bias as the int32 of scale s_x * s_w[c] holds it, back in float32 [C]."""
    return fake_quantize(bias, scale_C * scale_C.new_full((), input_scale), -(2**31) + 1, 2**31 - 1)
