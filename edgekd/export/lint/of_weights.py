"""Rules of the constants of a layer: are its weights rounded, by which channel, in which type; and its bias."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from edgekd.export.lint.graph import DEQUANTIZE, Graph, Weight, integer
from edgekd.export.lint.islands import maker_of
from edgekd.export.lint.rule import ERROR, WARNING, Hits, Purpose, rule
from edgekd.export.tensorrt_reads import version_of

_SEVEN_BITS = 64
_BIAS_TOLERANCE = 1e-5  # of s_x * s_w in float32, whatever the order of the factors


@rule(
    ERROR,
    "rounded on one side, it computes in floating point all the same; newer onnxruntimes round the other side as well",
    "put a pair on its input and on its weight, or on neither",
)
def half_quantized(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights():
        if weight.rounded != graph.is_rounded(node.input[0]):
            bare = (
                f"its input comes unrounded from {maker_of(graph, node.input[0])}"
                if weight.rounded
                else "its weight is not rounded"
            )
            yield graph.name(node), bare


@rule(
    WARNING,
    "a channel with small weights keeps few of its levels: 1 to 2 dB, and much more in depthwise convolutions",
    "one scale for each output channel",
)
def weight_per_tensor(graph: Graph, purpose: Purpose) -> Hits:
    for node, _, scales, channels in _scaled(graph):
        if scales == 1 < channels:
            yield graph.name(node), f"one scale for {channels} channels"


@rule(
    ERROR,
    "scales meet the wrong weights, or the layer stays float or is refused",
    "scale along the output channels: axis 0 of Conv and of Gemm with transB=1, 1 of ConvTranspose and other Gemm, MatMul's last",
)
def weight_axis(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight, scales, channels in _scaled(graph):
        rank, right = len(graph.constants[weight.name].dims), _axis(graph, node, weight)
        for one in (weight.quantize, weight.dequantize):
            axis = graph.grid(one).axis % rank if one else right
            if scales > 1 and (axis != right or scales != channels):
                yield graph.name(node), f"{scales} scales along axis {axis}; {channels} channels along axis {right}"
                break


@rule(
    ERROR,
    "importers before 10 take no int8 weight",
    "keep the weight float, with QuantizeLinear and DequantizeLinear behind it; or name a TensorRT from 10 on",
    runtimes=("tensorrt",),
)
def int8_weight(graph: Graph, purpose: Purpose) -> Hits:
    if purpose.tensorrt is None or version_of(purpose.tensorrt) < (10, 0):
        for node, weight in graph.weights():
            if weight.rounded and weight.quantize is None and graph.constants[weight.name].data_type == TensorProto.INT8:
                yield graph.name(node), f"{weight.name} is stored as int8"


@rule(
    ERROR,
    "a bias of Q/DQ, int32 above all, is refused",
    "keep the bias float (QuantizeBias=False in onnxruntime's tool)",
    runtimes=("tensorrt",),
)
def rounded_bias(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Conv", "ConvTranspose", "Gemm"):
        if len(node.input) > 2 and (
            graph.kind(node.input[2]) == DEQUANTIZE or _stored_as(graph, node.input[2]) == TensorProto.INT32
        ):
            yield graph.name(node), f"{node.input[2]} is rounded"


@rule(
    WARNING,
    "older versions keep the layer float, newer ones round the bias themselves",
    "store it as int32 with a DequantizeLinear of scale s_x * s_w[c] and zero point 0",
    runtimes=("onnxruntime",),
)
def float_bias(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights():
        rounded = weight.rounded and graph.is_rounded(node.input[0]) and node.op_type in ("Conv", "Gemm")
        if rounded and len(node.input) > 2 and _stored_as(graph, node.input[2]) == TensorProto.FLOAT:
            yield graph.name(node), f"{node.input[2]} is float32"


@rule(
    ERROR,
    "the layer stays float, as its integer kernel adds the bias on the grid of its sums; older versions add it all the same",
    "scale s_x * s_w[c] for each channel, zero point 0",
    runtimes=("onnxruntime",),
)
def bias_scale(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights():
        if len(node.input) < 3 or graph.kind(node.input[2]) != DEQUANTIZE or weight.dequantize is None:
            continue
        source = graph.source(node.input[0])
        if graph.kind(source) != DEQUANTIZE:
            continue
        bias, of_input = graph.grid(graph.maker[node.input[2]]), graph.grid(graph.maker[source]).scale
        of_weight = graph.grid(weight.dequantize).scale
        if bias.scale is None or of_input is None or of_weight is None or of_input.size != 1:
            continue
        wanted = of_input.ravel() * of_weight.ravel()
        if not bias.scale.size or not wanted.size:
            continue
        if bias.scale.size not in (1, wanted.size) or not np.allclose(bias.scale.ravel(), wanted, rtol=_BIAS_TOLERANCE, atol=0):
            yield graph.name(node), f"scale {bias.scale.flat[0]:g}, not {wanted[0]:g}"
        elif bias.zero is not None and bias.zero.any():
            yield graph.name(node), f"zero point {bias.zero[bias.zero != 0].flat[0]}"


@rule(
    WARNING,
    "its kernels for uint8 weights, or weights with a zero point, take up to twice as long",
    "int8 weights with zero point 0",
    runtimes=("onnxruntime",),
)
def weight_type(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights():
        if weight.dequantize is not None:
            grid = graph.grid(weight.dequantize)
            if grid.type == TensorProto.UINT8:
                yield graph.name(node), "uint8"
            elif grid.zero is not None and grid.zero.any():
                yield graph.name(node), f"zero point {grid.zero[grid.zero != 0].flat[0]}"


@rule(
    ERROR,
    "the file says it is for CPUs that add products in 16 bits, and there its sums saturate",
    "round weights to at most 64 in magnitude, on a scale twice as coarse",
    runtimes=("onnxruntime",),
)
def seven_bits(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights() if graph.weight_bits == "7" else ():
        stored = graph.value(weight.name)
        if (
            stored is not None
            and stored.dtype == np.int8
            and (largest := int(np.abs(stored.astype(int)).max(initial=0))) > _SEVEN_BITS
        ):
            yield graph.name(node), f"a weight of {largest}"


def _scaled(graph: Graph) -> Iterator[tuple[NodeProto, Weight, int, int]]:
    """(layer, its weight, how many scales, how many output channels) where the file tells."""
    for node, weight in graph.weights():
        if weight.dequantize is None or weight.moved or len(weight.dequantize.input) < 2:
            continue
        scale, dims = graph.constants.get(weight.dequantize.input[1]), graph.constants[weight.name].dims
        axis = _axis(graph, node, weight)
        if scale is not None and axis < len(dims):
            yield (
                node,
                weight,
                math.prod(scale.dims),
                dims[axis] * (integer(node, "group", 1) if node.op_type == "ConvTranspose" else 1),
            )


def _axis(graph: Graph, node: NodeProto, weight: Weight) -> int:
    """Of the output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if integer(node, "transB", 0) else 1
    return 1 if node.op_type == "ConvTranspose" else len(graph.constants[weight.name].dims) - 1


def _stored_as(graph: Graph, name: str) -> int:
    constant = graph.constants.get(graph.source(name))
    return constant.data_type if constant is not None else 0
