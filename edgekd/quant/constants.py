"""Arithmetic with constants: factors and offsets a channel, and hard sigmoids spelt out."""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx, nn

from edgekd.quant import ops
from edgekd.quant.fold import affine, as_depthwise, module_of
from edgekd.quant.functional import constant
from edgekd.quant.rules import batched, replace, source_of

_ADD = (operator.add, operator.iadd, torch.add, "add", "add_")
_SUB = (operator.sub, operator.isub, torch.sub, "sub", "sub_")
_MUL = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
_DIV = (operator.truediv, operator.itruediv, torch.div, "div", "div_")


def join_hard_sigmoids(graph: fx.GraphModule) -> None:
    """relu6(x + 3) / 6, also behind a product: the hard sigmoid it is."""
    for node in list(graph.graph.nodes):
        x, factor, offset = _line(graph, node) or (None, None, None)
        if x is None or not _is(factor, 1 / 6) or not _is(offset, 0.0) or len(x.users) != 1:
            continue
        clip = x
        if isinstance(module_of(graph, x), ops.Mul):  # x * relu6(x + 3) / 6
            clip = next((one for one in x.all_input_nodes if _shifted(graph, one) is not None), x)
        inside = _shifted(graph, clip)
        if inside is None or len(clip.users) != 1:
            continue
        graph.set_submodule(str(clip.target), nn.Hardsigmoid())
        clip.args = (inside,)
        node.replace_all_uses_with(x)
    graph.graph.eliminate_dead_code()


def _shifted(graph: fx.GraphModule, clip: fx.Node) -> fx.Node | None:
    """x, if the node is clip(x + 3, 0, 6)."""
    module = module_of(graph, clip)
    if not isinstance(module, nn.Hardtanh) or (module.min_val, module.max_val) != (0.0, 6.0):
        return None
    x, factor, offset = _line(graph, source_of(clip)) or (None, None, None)
    return x if x is not None and _is(factor, 1.0) and _is(offset, 3.0) else None


def _is(value: Tensor | None, number: float) -> bool:
    return value is not None and value.numel() == 1 and abs(float(value) - number) < 1e-6


def fold_constants(graph: fx.GraphModule) -> None:
    """Fold factor * x + offset, one number a channel, into the layer before; else make it a depthwise convolution.

    What comes before the first layer (an image normalized by the network itself) stays as it is: in float it costs and loses
    nothing.
    """
    for node in list(graph.graph.nodes):
        found = _line(graph, node)
        if found is None or not node.users:
            continue
        x, factor, offset = found
        axis = _channel_axis(x, factor)
        if axis is None:
            continue
        layer, axis = _layer_above(graph, x, axis)
        if layer is not None and axis in (0, 1):
            channels = layer.weight.shape[0]
            affine(layer, *(value.double().reshape(-1).expand(channels) for value in (factor, offset)))
            node.replace_all_uses_with(x)
            graph.graph.erase_node(node)
        elif len(x.meta["shape"]) == 4 and axis in (0, 1) and isinstance(module_of(graph, x), _ON_INTEGERS):
            channels = x.meta["shape"][1]
            line = (value.double().reshape(-1).expand(channels).clone() for value in (factor, offset))
            replace(graph, node, as_depthwise(*line), x)


_ON_INTEGERS = (
    nn.Conv2d,
    nn.ReLU,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.Sigmoid,
    ops.Add,
    ops.Mul,
    ops.Concat,
    ops.GlobalAvgPool,
    nn.AvgPool2d,
    *ops.MOVES,
)


def _line(graph: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, Tensor, Tensor] | None:
    """x, factor and offset of a node that is factor * x + offset with constants."""
    if node.op not in ("call_function", "call_method") or len(node.args) != 2 or node.kwargs:
        return None
    left, right = node.args
    values = [torch.tensor(float(one)) if isinstance(one, (int, float)) else constant(graph, one) for one in (left, right)]
    if (values[0] is None) == (values[1] is None):
        return None
    first = values[1] is not None  # is x the first of the two?
    x, value = (left, values[1]) if first else (right, values[0])
    if not isinstance(x, fx.Node) or not batched(x) or value is None or node.meta["shape"] != x.meta["shape"]:
        return None
    one, zero = torch.ones_like(value), torch.zeros_like(value)
    if node.target in _ADD:
        return x, one, value
    if node.target in _SUB:
        return (x, one, -value) if first else (x, -one, value)
    if node.target in _MUL:
        return x, value, zero
    return (x, 1 / value, zero) if node.target in _DIV and first else None


def _channel_axis(x: fx.Node, constant: Tensor) -> int | None:
    """The axis of x along which a constant varies, 0 if it is a single number; None if there are several such axes."""
    rank = len(x.meta["shape"])
    shape = (1,) * (rank - constant.dim()) + tuple(constant.shape)
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    return None if len(axes) > 1 or axes == [0] else sum(axes)


def _layer_above(graph: fx.GraphModule, x: fx.Node, axis: int) -> tuple[nn.Conv2d | nn.Linear | None, int]:
    """The layer that makes x, alone or with a transpose behind it, and what of its output lies along the axis."""
    module = module_of(graph, x)
    while isinstance(module, ops.Transpose) and len(x.users) == 1:
        x, axis = source_of(x), module.order[axis]
        module = module_of(graph, x)
    fits = isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and len(x.meta["shape"]) == 2)
    return (module, axis) if fits and len(x.users) == 1 else (None, axis)  # type: ignore[return-value]
