"""The small vocabulary a traced network is rewritten to, beside torch.nn's own layers: each an op that ONNX has under one name.

Every module keeps the batch (axis 0) free. During torch.onnx.export those that the exporter would spell otherwise (ReduceMean
for a global pool, shape arithmetic for a reshape) write their ONNX node themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_ONNX_VERSION = 18


def _node(name: str, inputs: Sequence[Tensor], shape: Sequence[int], **attributes: Any) -> Tensor:
    return torch.onnx.ops.symbolic(name, inputs, attributes, dtype=inputs[0].dtype, shape=shape, version=_ONNX_VERSION)


class Add(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right


class Mul(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left * right


class Concat(nn.Module):
    """Join along axis 1 (channels) or any other but the batch."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, self.axis)


class GlobalAvgPool(nn.Module):
    """[N,C,H,W] -> [N,C,1,1]."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return _node("GlobalAveragePool", [x], (x.shape[0], x.shape[1], 1, 1))
        return x.mean((2, 3), keepdim=True)


class Reshape(nn.Module):
    """[N, ...] -> [N, *shape]; shape is static."""

    target: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer("target", torch.tensor([0, *shape]), persistent=False)  # ONNX: 0 keeps the batch

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "Reshape", [x, self.target], {}, dtype=x.dtype, shape=(x.shape[0], *self.shape), version=_ONNX_VERSION
            )
        return x.reshape(x.shape[0], *self.shape)


class Transpose(nn.Module):
    """Permute the axes; axis 0 stays."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order).contiguous()


class Slice(nn.Module):
    """x[..., start:stop:step, ...] along one axis other than the batch."""

    def __init__(self, axis: int, start: int, stop: int, step: int = 1) -> None:
        super().__init__()
        self.axis, self.cut = axis, slice(start, stop, step)

    def forward(self, x: Tensor) -> Tensor:
        return x[(slice(None),) * self.axis + (self.cut,)]


class Spread(nn.Module):
    """[N,C,1,1] -> [N,C,H,W], every place the same value (an adaptive pool that enlarges)."""

    target: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.register_buffer("target", torch.tensor([1, 1, height, width]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "Expand", [x, self.target], {}, dtype=x.dtype, shape=(*x.shape[:2], *self.size), version=_ONNX_VERSION
            )
        return x.expand(-1, -1, *self.size)


MOVES = (Reshape, Transpose, Slice, Spread, nn.MaxPool2d)  # values move or repeat, none is new: a grid passes through
