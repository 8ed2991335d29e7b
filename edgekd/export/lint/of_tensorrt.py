"""Rules of where TensorRT wants its pairs: convolution, activation and addition are one kernel only if none parts them."""

from __future__ import annotations

from onnx import NodeProto

from edgekd.export.lint.graph import QUANTIZE, Graph
from edgekd.export.lint.islands import ends_the_network, maker_of
from edgekd.export.lint.of_joins import main_branch
from edgekd.export.lint.rule import ERROR, WARNING, Hits, Purpose, rule

_TENSORRT = ("tensorrt",)
_GATES = ("Sigmoid", "HardSigmoid")
_ACTIVATIONS = (*_GATES, "Clip", "Elu", "Gelu", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Softplus", "Tanh")


@rule(
    ERROR,
    "the activation (SiLU: sigmoid and product) is no longer part of the kernel before it: two kernels, one more rounding",
    "move the pair behind the activation",
    runtimes=_TENSORRT,
)
def activation_apart(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(QUANTIZE):
        readers = graph.behind(node)
        gated = {name for reader in readers if reader.op_type in _GATES for name in reader.output}
        fused = [one for one in readers if one.op_type in _ACTIVATIONS or (one.op_type == "Mul" and gated & set(one.input))]
        before = graph.kind(node.input[0])
        if before in ("Conv", "ConvTranspose", "Gemm", "Add", "BatchNormalization") and readers and len(fused) == len(readers):
            yield graph.name(node), f"between {maker_of(graph, node.input[0])} and {_called(graph, readers[0])}"


@rule(
    ERROR,
    "convolution and addition are two kernels: the sum is no longer taken along",
    "take this pair away; the other branch keeps its own",
    runtimes=_TENSORRT,
)
def rounded_main_branch(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Add", "Sum"):
        main = main_branch(graph, node)
        if main is not None and graph.before_rounding(main) != main:
            yield graph.name(node), f"{maker_of(graph, graph.before_rounding(main))} enters rounded"


@rule(
    WARNING,
    "a gate is small and its grid coarse: accuracy is lost, nothing gets faster",
    "take the pair away",
    runtimes=_TENSORRT,
)
def rounded_gate(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of(QUANTIZE):
        if graph.kind(node.input[0]) in (*_GATES, "Softmax"):
            yield graph.name(node), f"behind {maker_of(graph, node.input[0])}"


@rule(
    WARNING,
    "it is computed in floating point: pooling is int8 only where its input is",
    "put a pair on its input",
    runtimes=_TENSORRT,
)
def float_pool(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("AveragePool", "GlobalAveragePool"):
        if graph.quantized and not graph.is_rounded(node.input[0]) and not ends_the_network(graph, node):
            yield graph.name(node), f"its input comes unrounded from {maker_of(graph, node.input[0])}"


@rule(
    WARNING,
    "a padding of its own is a pass over the tensor more, and a pair behind it breaks the convolution's fusion",
    "use the convolution's own pads",
    runtimes=_TENSORRT,
)
def pad_apart(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Conv", "AveragePool"):
        before = graph.before_rounding(node.input[0]) if graph.quantized else ""
        if graph.kind(before) == "Pad":
            yield graph.name(graph.maker[before]), f"before {_called(graph, node)}"


@rule(WARNING, "the clamp is not fused with the convolution before it", "make both ends initializers", runtimes=_TENSORRT)
def clip_ends(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Clip"):
        if odd := [name for name in node.input[1:] if name and name not in graph.constants]:
            yield graph.name(node), f"{odd[0]} is computed"


def _called(graph: Graph, node: NodeProto) -> str:
    return f"{node.op_type} {graph.name(node)}" if node.name else graph.name(node)
