"""Rules of where onnxruntime's CPU kernels want their pairs: around every op, so that integers go in and integers come out."""

from __future__ import annotations

import numpy as np

from edgekd.export.lint.graph import DEQUANTIZE, QUANTIZE, Graph
from edgekd.export.lint.islands import CLAMPS, ends_the_network, maker_of, unrounded_reader
from edgekd.export.lint.rule import ERROR, WARNING, Hits, Purpose, rule

_ONNXRUNTIME = ("onnxruntime",)
_PLANE = ({2, 3}, {-1, -2})


@rule(
    ERROR,
    "a convolution whose output is not rounded stays float: its weights and input were rounded for nothing",
    "put a pair behind it, or behind its Relu or Clip",
    runtimes=_ONNXRUNTIME,
)
def bare_output(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights():
        int8 = node.op_type == "Conv" and weight.rounded and graph.is_rounded(node.input[0])
        if int8 and (reader := unrounded_reader(graph, node)):
            yield graph.name(node), f"it goes to {reader}"


@rule(
    WARNING,
    "a DQ and a Q more, in floating point, and one more rounding; behind the clamp a single Q does the work of both",
    "move the pair behind the clamp",
    runtimes=_ONNXRUNTIME,
)
def clamp_apart(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(QUANTIZE):
        readers = graph.behind(node)
        before = graph.kind(node.input[0])
        if before in ("Conv", "Gemm", "Add") and readers and all(one.op_type in CLAMPS for one in readers):
            behind = f"{readers[0].op_type} {graph.name(readers[0])}"
            yield graph.name(node), f"between {maker_of(graph, node.input[0])} and {behind}"


@rule(
    WARNING,
    "there is no integer kernel for it: numbers in, numbers out, and slower than float throughout",
    "fold the x/6 + 1/2 of HardSigmoid into the convolution, then Clip(0, 1); HardSwish is that times x; or take ReLU instead",
    runtimes=_ONNXRUNTIME,
)
def hard_activation(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("HardSigmoid", "HardSwish"):
        if graph.is_rounded(node.input[0]):
            yield (
                graph.name(node),
                f"{node.op_type} on what {maker_of(graph, graph.before_rounding(graph.source(node.input[0])))} gives",
            )


@rule(
    WARNING,
    "sigmoid and product stay float between DQ and Q; with a pair between, both have integer kernels",
    "put a pair of scale 1/255 and zero point 0 behind the sigmoid",
    runtimes=_ONNXRUNTIME,
)
def silu_in_float(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Mul"):
        gates = [one for one in node.input if graph.kind(one) == "Sigmoid"]
        others = [one for one in node.input if one not in gates]
        if gates and others and all(graph.is_rounded(one) for one in others):
            yield graph.name(node), f"{gates[0]} enters unrounded"


@rule(
    WARNING,
    "ReduceMean has no integer kernel, GlobalAveragePool has",
    "write GlobalAveragePool (torch's exporter makes ReduceMean of AdaptiveAvgPool2d(1) and of mean((2, 3)))",
    runtimes=_ONNXRUNTIME,
)
def reduce_mean(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("ReduceMean"):
        value = graph.value(node.input[1]) if len(node.input) > 1 else None
        listed = [axis for one in node.attribute if one.name == "axes" for axis in one.ints]
        axes = listed if value is None or value.dtype != np.int64 else value.ravel().tolist()
        if set(axes) in _PLANE and graph.is_rounded(node.input[0]):
            yield graph.name(node), f"over axes {', '.join(map(str, axes))}"


@rule(
    WARNING,
    "an op of its own in floating point: it is integer only where its output is rounded too",
    "put a pair behind it",
    runtimes=_ONNXRUNTIME,
)
def bare_result(graph: Graph, purpose: Purpose) -> Hits:
    """Of additions, products, pools and the like; of convolutions see bare_output."""
    for node in graph.of("Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"):
        inside = [one for one in node.input if one and one not in graph.constants]
        int8 = inside and all(graph.kind(graph.source(one)) == DEQUANTIZE for one in inside)
        if int8 and not ends_the_network(graph, node) and (reader := unrounded_reader(graph, node)):
            yield graph.name(node), f"it goes to {reader}"
