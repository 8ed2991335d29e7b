"""Rules of one Q or DQ: its scale and zero point, its partner, its type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from edgekd.export.lint.graph import DEQUANTIZE, MOVES, QUANTIZE, Graph
from edgekd.export.lint.rule import ERROR, WARNING, Hits, Purpose, rule
from edgekd.export.tensorrt_reads import version_of

_TEN = (10, 0)  # from here on a zero point may be left out, and weights may be stored as int8
_NAMES: dict[int, str] = {
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
}


@rule(
    ERROR,
    "a whole tensor or channel becomes zero, infinite or no number; TensorRT refuses it",
    "floor scales at about 1e-8 (a dead channel's is any positive number), and look where no numbers come from",
)
def scale(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.roundings():
        value = graph.grid(node).scale
        if value is not None and not (np.isfinite(value).all() and (value > 0).all()):
            odd = value.ravel()[~(np.isfinite(value) & (value > 0)).ravel()]
            yield graph.name(node), f"scale {odd[0]:g}" + (f" in {odd.size} of {value.size} channels" if value.size > 1 else "")


@rule(ERROR, "the pair is not folded into the layer beside it, which stays float; TensorRT refuses it", "make it an initializer")
def computed_scale(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.roundings():
        if odd := [name for name in node.input[1:3] if name and name not in graph.constants]:
            yield graph.name(node), f"{odd[0]} is computed"


@rule(ERROR, "the runtimes refuse it, or read one for the other", "one scale and one zero point for each channel, or one for all")
def grid_length(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.roundings():
        grid = graph.grid(node)
        if grid.scale is not None and grid.zero is not None and grid.scale.size != grid.zero.size:
            yield graph.name(node), f"{grid.scale.size} scales and {grid.zero.size} zero points"


@rule(ERROR, "no kernel takes an activation scaled by channel: its layers stay float, or are refused", "one scale for the tensor")
def activation_per_channel(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.roundings():
        value = graph.grid(node).scale
        if value is not None and value.size > 1 and not graph.rounds_a_constant(node):
            yield graph.name(node), f"{value.size} scales"


@rule(
    ERROR,
    "its integers reach an op that takes numbers, or nobody: the file is refused, or rounds for nothing",
    "put a DequantizeLinear of the same grid behind it",
)
def lone_q(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(QUANTIZE):
        readers = graph.readers.get(node.output[0], [])
        if not readers and node.output[0] not in graph.outputs:
            yield graph.name(node), "nothing reads it"
        elif purpose.runtime == "tensorrt" and node.output[0] in graph.outputs:
            yield graph.name(node), "it is the network's output"
        elif odd := [one for one in readers if not _takes_integers(one, purpose)]:
            yield graph.name(node), f"{odd[0].op_type} {graph.name(odd[0])} reads it"


def _takes_integers(node: NodeProto, purpose: Purpose) -> bool:
    if node.op_type == DEQUANTIZE or purpose.runtime == "tensorrt":
        return node.op_type == DEQUANTIZE
    return node.op_type in MOVES or node.op_type in ("Cast", "Concat", "Pad") or node.op_type.startswith(("QLinear", "QGemm")) \
        or node.op_type.endswith("Integer")  # fmt: skip


@rule(
    ERROR, "there are no integers to make numbers of, and the file is refused", "put a QuantizeLinear of the same grid before it"
)
def lone_dq(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(DEQUANTIZE):
        if not graph.is_integer(node.input[0]):
            made = graph.kind(graph.source(node.input[0]))
            yield graph.name(node), f"it reads the output of {made}" if made else "it reads what is no integer"


@rule(
    ERROR,
    "numbers are read on another grid than they were written on, and the pair does not fuse",
    "one scale and one zero point for both ends",
    runtimes=("tensorrt",),
)
def two_grids(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(DEQUANTIZE):
        if graph.kind(node.input[0]) == QUANTIZE:
            above, below = graph.grid(graph.maker[node.input[0]]), graph.grid(node)
            if said := _other(above.scale, below.scale):
                yield graph.name(node), said


@rule(
    WARNING,
    "a rounding and a pass over the tensor more; onnxruntime keeps what lies between in floating point",
    "give what only moves values (and MaxPool) the grid of its input, or no pair of its own",
)
def rounded_twice(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(QUANTIZE):
        source = graph.source(node.input[0])
        above = graph.maker.get(source)
        if above is None or above.op_type != DEQUANTIZE or graph.rounds_a_constant(above):
            continue
        if said := _other(graph.grid(above).scale, graph.grid(node).scale):
            yield graph.name(node), said


def _other(above: NDArray[Any] | None, below: NDArray[Any] | None) -> str | None:
    """In words that the second scale is not the first, where both are told."""
    if above is None or below is None or not above.size or not below.size or np.array_equal(above, below, equal_nan=True):
        return None
    return f"scale {below.flat[0]:g} behind {above.flat[0]:g}"


@rule(
    ERROR,
    "importers before 10 want all three inputs",
    "write the zero point, int8 zeros as many as scales; or name a TensorRT from 10 on",
    runtimes=("tensorrt",),
)
def no_zero_point(graph: Graph, purpose: Purpose) -> Hits:
    if purpose.tensorrt is None or version_of(purpose.tensorrt) < _TEN:
        for node in graph.roundings():
            if not graph.grid(node).written:
                yield graph.name(node), f"{len(node.input)} inputs"


@rule(
    ERROR,
    "TensorRT computes with int8 alone, and refuses uint8 or takes it for int8",
    "quantize activations to int8 with zero point 0",
    runtimes=("tensorrt",),
)
def uint8(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.roundings():
        grid = graph.grid(node)
        if grid.written and grid.type not in (TensorProto.INT8, TensorProto.INT32, 0):
            yield graph.name(node), f"zero point of type {_NAMES.get(grid.type, 'another')}"


@rule(
    ERROR,
    "TensorRT refuses the file: its int8 is symmetric",
    "zero point 0, and the scale of max|x| / 127",
    runtimes=("tensorrt",),
)
def asymmetric(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.roundings():
        grid = graph.grid(node)
        if grid.type == TensorProto.INT8 and grid.zero is not None and grid.zero.any():
            yield graph.name(node), f"zero point {grid.zero[grid.zero != 0].flat[0]}"


@rule(
    WARNING,
    "on x86 its kernels for int8 activations are slower than those for float, and beside uint8 ones the layer stays float",
    "quantize activations to uint8: zero point 0 where nothing is negative, else 128 with the same scale",
    runtimes=("onnxruntime",),
)
def signed_activation(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(QUANTIZE):
        if graph.grid(node).type == TensorProto.INT8 and not graph.rounds_a_constant(node):
            yield graph.name(node), "int8"
