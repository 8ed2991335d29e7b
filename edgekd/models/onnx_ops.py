"""One rule an ONNX operator: the torch layer or function that computes the same, spelled as quantization knows it.

A rule is given the walk (``onnx_network``) and the node, and returns what the node's output is: a node of the torch graph, or a
list of them, one an output. It raises Refused where the operator is used in a way that has no such layer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import NodeProto, helper
from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from edgekd.models.onnx_network import _Walk as Walk

Rule = Callable[["Walk", NodeProto], fx.Node | list[fx.Node]]


class Refused(Exception):
    """Why a node has no torch form; becomes an InputError that names the node."""


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _given(walk: Walk, node: NodeProto, place: int, name: str) -> Any:
    """What older opsets have as an attribute and newer ones as an input, as plain numbers; None where it is left out."""
    found = _attributes(node).get(name)
    if found is None and len(node.input) > place and (value := walk.constant(place)) is not None:
        found = value.tolist()
    return found


def _parameter(value: NDArray[Any]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(value, np.float32)))


def _window(walk: Walk, node: NodeProto, x: fx.Node, kernel: list[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Strides, dilations, and the pads before and after, of both image axes."""
    given = _attributes(node)
    if len(walk.shape(x)) != 4:
        raise Refused("it does not work on images [N, C, H, W]")
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = zip(walk.shape(x)[2:], kernel, strides, dilations, strict=True)
        total = [max(0, (-(-side // s) - 1) * s + (k - 1) * d + 1 - side) for side, k, s, d in sides]
        less, more = [one // 2 for one in total], [one - one // 2 for one in total]
        return strides, dilations, *((less, more) if auto == "SAME_UPPER" else (more, less))
    pads = given.get("pads", [0, 0, 0, 0]) if auto == "NOTSET" else [0, 0, 0, 0]
    return strides, dilations, pads[:2], pads[2:]


def _conv(walk: Walk, node: NodeProto) -> fx.Node:
    """Unequal pads become equal ones around a kernel with rows or columns of zeros: the same sums, and integer kernels."""
    x, weight, bias = walk.tensor(0), walk.constant(1), walk.constant(2)
    if weight is None or weight.ndim != 4:
        raise Refused("only convolutions over two axes are read")
    strides, dilations, before, after = _window(walk, node, x, list(weight.shape[2:]))
    padding = [max(ends) for ends in zip(before, after, strict=True)]
    missing = [(p - b, p - a) for p, b, a in zip(padding, before, after, strict=True)]
    if any(side % d for pair, d in zip(missing, dilations, strict=True) for side in pair):
        raise Refused("its pads are unequal, and its dilation cannot make up for that")
    wider = [(first // d, last // d) for (first, last), d in zip(missing, dilations, strict=True)]
    weight = np.pad(weight, [(0, 0), (0, 0), *wider])
    groups = _attributes(node).get("group", 1)
    out, per_group, *kernel = weight.shape
    layer = nn.Conv2d(per_group * groups, out, kernel, strides, padding, dilations, groups, bias is not None)  # type: ignore[arg-type]
    layer.weight = _parameter(weight)
    if bias is not None:
        layer.bias = _parameter(bias)
    return walk.layer(layer, x)


def _linear(walk: Walk, x: fx.Node, weight: NDArray[Any], bias: NDArray[Any] | None) -> fx.Node:
    """weight: [out, in]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight = _parameter(weight)
    if bias is not None:
        layer.bias = _parameter(np.broadcast_to(np.squeeze(bias), weight.shape[:1]))
    return walk.layer(layer, x)


def _gemm(walk: Walk, node: NodeProto) -> fx.Node:
    given = _attributes(node)
    weight, bias = walk.constant(1), walk.constant(2)
    if weight is None or given.get("transA") or (bias is not None and bias.size not in (1, bias.shape[-1])):
        raise Refused("only Gemm of a tensor with constant weights and one bias an output is read")
    weight = weight if given.get("transB") else weight.T
    bias = None if bias is None else bias * np.float32(given.get("beta", 1.0))
    return _linear(walk, walk.tensor(0), weight * np.float32(given.get("alpha", 1.0)), bias)


def _matmul(walk: Walk, node: NodeProto) -> fx.Node:
    if not walk.is_constant(1):
        return walk.call(torch.matmul, walk.tensor(0), walk.tensor(1))
    weight = walk.constant(1)
    if weight is None or weight.ndim != 2:
        raise Refused("its constant weights are no matrix")
    return _linear(walk, walk.tensor(0), weight.T, None)


def _add(walk: Walk, node: NodeProto) -> fx.Node:
    """A constant added to what constant weights made is their bias."""
    for one, other in ((0, 1), (1, 0)):
        if walk.is_constant(other) and not walk.is_constant(one):
            x, bias = walk.tensor(one), walk.constant(other)
            layer = walk.module(x)
            outputs = len(layer.weight) if isinstance(layer, nn.Linear) and layer.bias is None else None
            if isinstance(layer, nn.Linear) and bias is not None and bias.shape == (outputs,):
                return _linear(walk, x.all_input_nodes[0], layer.weight.detach().numpy(), bias)
    return _sum(walk, node)


def _batch_norm(walk: Walk, node: NodeProto) -> fx.Node:
    x, (scale, bias, mean, variance) = walk.tensor(0), (walk.constant(place) for place in (1, 2, 3, 4))
    kinds: dict[int, Any] = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    if scale is None or bias is None or mean is None or variance is None or len(walk.shape(x)) not in kinds:
        raise Refused("only batch norms of [N, C, H, W] and [N, C] are read")
    norm = kinds[len(walk.shape(x))](len(scale), eps=_attributes(node).get("epsilon", 1e-5))
    norm.weight, norm.bias = _parameter(scale), _parameter(bias)
    norm.running_mean, norm.running_var = _parameter(mean).detach(), _parameter(variance).detach()
    return walk.layer(norm, x)


def _clip(walk: Walk, node: NodeProto) -> fx.Node:
    low, high = (_given(walk, node, place, name) for place, name in ((1, "min"), (2, "max")))
    widest = float(np.finfo(np.float32).max)
    low, high = (None if end is None or abs(end) >= widest else float(end) for end in (low, high))
    if low == 0 and high is None:
        return walk.call(F.relu, walk.tensor(0))
    return walk.tensor(0) if low is None and high is None else walk.call(torch.clamp, walk.tensor(0), low, high)


def _hard_sigmoid(walk: Walk, node: NodeProto) -> fx.Node:
    given = _attributes(node)
    alpha, beta = given.get("alpha", 0.2), given.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return walk.call(F.hardsigmoid, walk.tensor(0))
    line = walk.call(operator.add, walk.call(operator.mul, walk.tensor(0), alpha), beta)
    return walk.call(torch.clamp, line, 0.0, 1.0)


def _prelu(walk: Walk, node: NodeProto) -> fx.Node:
    slope = walk.constant(1)
    if slope is None or slope.size not in (1, max(slope.shape, default=1)):
        raise Refused("its slopes are not one a channel")
    layer = nn.PReLU(slope.size)
    layer.weight = _parameter(slope.reshape(-1))
    return walk.layer(layer, walk.tensor(0))


def _average_pool(walk: Walk, node: NodeProto) -> fx.Node:
    given, x = _attributes(node), walk.tensor(0)
    strides, dilations, padding, ceil = _pooling(walk, node, x)
    counts = bool(given.get("count_include_pad", 0))
    if dilations != [1, 1] or (counts and ceil and not given.get("ceil_mode", 0)):
        raise Refused("an average over dilated windows, or over zeros on one side only, is not read")
    return walk.call(F.avg_pool2d, x, given["kernel_shape"], strides, padding, ceil, counts)


def _max_pool(walk: Walk, node: NodeProto) -> fx.Node:
    if len(node.output) > 1 and node.output[1]:
        raise Refused("its second output, the places, is not read")
    x = walk.tensor(0)
    strides, dilations, padding, ceil = _pooling(walk, node, x)
    return walk.call(F.max_pool2d, x, _attributes(node)["kernel_shape"], strides, padding, dilations, ceil)


def _pooling(walk: Walk, node: NodeProto, x: fx.Node) -> tuple[list[int], list[int], list[int], bool]:
    """Strides, dilations, equal pads, and whether windows may reach over the end: so torch writes pads at the end alone."""
    given = _attributes(node)
    kernel, ceil = given["kernel_shape"], bool(given.get("ceil_mode", 0))
    strides, dilations, before, after = _window(walk, node, x, kernel)
    if before == after:
        return strides, dilations, before, ceil
    for side, k, s, d, first, last in zip(walk.shape(x)[2:], kernel, strides, dilations, before, after, strict=True):
        reach = (k - 1) * d + 1
        places = (side + first + last - reach) // s + 1
        over = -(-(side + 2 * first - reach) // s) + 1
        if ceil or places != (over - 1 if (over - 1) * s >= side + first else over):  # torch drops windows of padding only
            raise Refused("its pads are unequal")
    return strides, dilations, before, True


def _global_max_pool(walk: Walk, node: NodeProto) -> fx.Node:
    x = walk.tensor(0)
    return walk.call(F.max_pool2d, x, list(walk.shape(x)[2:]))


def _reduce_mean(walk: Walk, node: NodeProto) -> fx.Node:
    x, axes = walk.tensor(0), _given(walk, node, 1, "axes")
    rank = len(walk.shape(x))
    axes = [axis % rank for axis in (axes or range(rank))]
    if 0 in axes:
        raise Refused("it takes the mean over the images of a batch")
    return walk.call(torch.mean, x, axes, keepdim=bool(_attributes(node).get("keepdims", 1)))


def _reshaped(walk: Walk, x: fx.Node, shape: list[int]) -> fx.Node:
    """shape: the batch, and what each image becomes. The batch is left free."""
    if not shape or shape[0] != walk.batch or walk.shape(x)[0] != walk.batch:
        raise Refused("it mixes the images of a batch")
    return walk.call(torch.reshape, x, (-1, *shape[1:]))


def _reshape(walk: Walk, node: NodeProto) -> fx.Node:
    x, wanted = walk.tensor(0), _given(walk, node, 1, "shape")
    before = walk.shape(x)
    shape = [before[place] if size == 0 else int(size) for place, size in enumerate(wanted)]
    return _reshaped(walk, x, list(torch.empty(before, device="meta").reshape(shape).shape))


def _flatten(walk: Walk, node: NodeProto) -> fx.Node:
    x = walk.tensor(0)
    if _attributes(node).get("axis", 1) % len(walk.shape(x)) != 1:
        raise Refused("it mixes the images of a batch")
    return walk.call(torch.flatten, x, 1)


def _squeeze(walk: Walk, node: NodeProto) -> fx.Node:
    x, axes = walk.tensor(0), _given(walk, node, 1, "axes")
    shape = walk.shape(x)
    dropped = [axis % len(shape) for axis in axes] if axes else [axis for axis, size in enumerate(shape) if size == 1]
    return _reshaped(walk, x, [size for axis, size in enumerate(shape) if axis not in dropped])


def _unsqueeze(walk: Walk, node: NodeProto) -> fx.Node:
    x, axes = walk.tensor(0), _given(walk, node, 1, "axes")
    shape = list(walk.shape(x))
    for axis in sorted(axis % (len(shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    return _reshaped(walk, x, shape)


def _transpose(walk: Walk, node: NodeProto) -> fx.Node:
    x = walk.tensor(0)
    order = _attributes(node).get("perm", list(range(len(walk.shape(x))))[::-1])
    if order[0] != 0:
        raise Refused("it mixes the images of a batch")
    return walk.call(torch.permute, x, tuple(order))


def _concat(walk: Walk, node: NodeProto) -> fx.Node:
    parts = [walk.tensor(place) for place in range(len(node.input))]
    axis = _attributes(node)["axis"] % len(walk.shape(parts[0]))
    if axis == 0:
        raise Refused("it mixes the images of a batch")
    return walk.call(torch.cat, parts, axis)


def _split(walk: Walk, node: NodeProto) -> list[fx.Node]:
    x, sizes = walk.tensor(0), _given(walk, node, 1, "split")
    axis = _attributes(node).get("axis", 0) % len(walk.shape(x))
    if axis == 0:
        raise Refused("it takes the images of a batch apart")
    each = -(-walk.shape(x)[axis] // len(node.output))
    parts = walk.call(torch.split, x, sizes or each, axis)
    return [walk.call(operator.getitem, parts, number) for number in range(len(node.output))]


def _slice(walk: Walk, node: NodeProto) -> fx.Node:
    x = walk.tensor(0)
    starts, ends, axes, steps = (_given(walk, node, place, name) for place, name in enumerate(("starts", "ends", "axes", ""), 1))
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        shape = walk.shape(x)
        axis, step = (axes[number] if axes else number) % len(shape), steps[number] if steps else 1
        size = shape[axis]
        start, end, _ = slice(start, end, step).indices(size)
        if (start, end, step) == (0, size, 1):
            continue
        if axis == 0 or step != 1 or end <= start:
            raise Refused("only slices of neighbours, and not of the batch, are read")
        sizes = [part for part in (start, end - start, size - end) if part]
        x = walk.call(operator.getitem, walk.call(torch.split, x, sizes, axis), int(start > 0))
    return x


def _pad(walk: Walk, node: NodeProto) -> fx.Node:
    x, pads, value = walk.tensor(0), _given(walk, node, 1, "pads"), _given(walk, node, 2, "value")
    rank, mode = len(walk.shape(x)), _attributes(node).get("mode", b"constant").decode()
    if mode != "constant" or (len(node.input) > 3 and node.input[3]) or len(pads) != 2 * rank or pads[0] or pads[rank]:
        raise Refused(f"a pad of mode {mode}, of some axes, or of the batch is not read")
    ends = [side for axis in reversed(range(1, rank)) for side in (pads[axis], pads[axis + rank])]
    return walk.call(F.pad, x, ends, value=float(value or 0.0))


def _softmax(function: Callable[..., Tensor]) -> Rule:
    def rule(walk: Walk, node: NodeProto) -> fx.Node:
        x = walk.tensor(0)
        rank = len(walk.shape(x))
        axis = _attributes(node).get("axis", -1 if walk.opset >= 13 else 1) % rank
        if walk.opset < 13 and axis != rank - 1:  # there it means all axes from this one on
            raise Refused("a softmax over several axes is not read")
        return walk.call(function, x, axis)

    return rule


def _layer_norm(walk: Walk, node: NodeProto) -> fx.Node:
    x, scale, bias = walk.tensor(0), walk.constant(1), walk.constant(2)
    given = _attributes(node)
    if scale is None or len(node.output) > 1 or given.get("axis", -1) % len(walk.shape(x)) + scale.ndim != len(walk.shape(x)):
        raise Refused("only layer norms with one scale a value are read")
    norm = nn.LayerNorm(scale.shape, given.get("epsilon", 1e-5))
    norm.weight, norm.bias = _parameter(scale), _parameter(np.zeros_like(scale) if bias is None else bias)
    return walk.layer(norm, x)


def _gelu(walk: Walk, node: NodeProto) -> fx.Node:
    return walk.call(F.gelu, walk.tensor(0), approximate=_attributes(node).get("approximate", b"none").decode())


def _cast(walk: Walk, node: NodeProto) -> fx.Node:
    if _attributes(node)["to"] != 1:
        raise Refused("it computes in another type than float32")
    return walk.tensor(0)


def _with_alpha(function: Callable[..., Tensor], default: float) -> Rule:
    return lambda walk, node: walk.call(function, walk.tensor(0), _attributes(node).get("alpha", default))


def _of_one(function: Callable[..., Tensor]) -> Rule:
    return lambda walk, node: walk.call(function, walk.tensor(0))


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[Walk, NodeProto], fx.Node]:
    """Either may be a constant: a number stays one, others become buffers."""

    def rule(walk: Walk, node: NodeProto) -> fx.Node:
        def operand(place: int) -> Any:
            if not walk.is_constant(place):
                return walk.tensor(place)
            value = walk.constant(place)
            return float(value.item()) if value is not None and value.size == 1 else value

        return walk.call(function, operand(0), operand(1))

    return rule


def _itself(walk: Walk, node: NodeProto) -> fx.Node:
    return walk.tensor(0)


_sum = _of_two(operator.add)
OPS: dict[str, Rule] = {
    "Add": _add, "Sub": _of_two(operator.sub), "Mul": _of_two(operator.mul), "Div": _of_two(operator.truediv),
    "Pow": _of_two(operator.pow), "Relu": _of_one(F.relu), "Sigmoid": _of_one(torch.sigmoid), "Tanh": _of_one(torch.tanh),
    "HardSwish": _of_one(F.hardswish), "Erf": _of_one(torch.erf), "Sqrt": _of_one(torch.sqrt), "Softplus": _of_one(F.softplus),
    "Elu": _with_alpha(F.elu, 1.0), "Mish": _of_one(F.mish), "LeakyRelu": _with_alpha(F.leaky_relu, 0.01), "Gelu": _gelu,
    "PRelu": _prelu, "Clip": _clip, "HardSigmoid": _hard_sigmoid, "Softmax": _softmax(torch.softmax),
    "LogSoftmax": _softmax(torch.log_softmax), "Conv": _conv, "Gemm": _gemm, "MatMul": _matmul,
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm, "AveragePool": _average_pool, "MaxPool": _max_pool,
    "GlobalAveragePool": lambda walk, node: walk.call(F.adaptive_avg_pool2d, walk.tensor(0), 1),
    "GlobalMaxPool": _global_max_pool, "ReduceMean": _reduce_mean, "Reshape": _reshape, "Flatten": _flatten,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose, "Concat": _concat, "Split": _split, "Slice": _slice,
    "Pad": _pad, "Cast": _cast, "Identity": _itself, "Dropout": _itself,
}  # fmt: skip
