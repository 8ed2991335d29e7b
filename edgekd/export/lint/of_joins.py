"""Rules of where branches meet and nets end: additions, concatenations, batch norms, logits. Of both runtimes."""

from __future__ import annotations

from onnx import NodeProto

from edgekd.export.lint.graph import DEQUANTIZE, WEIGHTED, Graph
from edgekd.export.lint.islands import comes_from_int8, maker_of
from edgekd.export.lint.rule import ERROR, WARNING, Hits, Purpose, rule


@rule(
    ERROR,
    "the addition is computed in floating point, and in TensorRT not in the convolution's own kernel",
    "put a pair on this branch; in TensorRT's files on this one alone, where a bare convolution is the other",
)
def bare_skip(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Add", "Sum"):
        branches = _branches(graph, node)
        bare = [one for one in branches if not graph.is_rounded(one)]
        main = main_branch(graph, node) if purpose.runtime == "tensorrt" else None
        if len(branches) > 1 and _in_int8(graph, branches):
            for one in bare:
                parted = purpose.runtime == "onnxruntime" and _rounded_layer(graph, one)  # that is rule bare-output
                if one != main and not parted and comes_from_int8(graph, one, purpose.runtime):
                    yield graph.name(node), f"{maker_of(graph, one)} enters unrounded"


@rule(
    WARNING,
    "each input is moved to the output's grid, an extra pass and rounding; with one grid joining is copying",
    "share one scale among all inputs and the output, unless their ranges differ by more than about 8 times",
)
def concat_scales(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Concat"):
        above = [graph.source(name) for name in node.input]
        pairs = [graph.grid(graph.maker[one]).scale for one in above if graph.kind(one) == DEQUANTIZE]
        scales = sorted({float(one.flat[0]) for one in pairs if one is not None and one.size == 1})
        if len(scales) > 1:
            yield graph.name(node), f"{len(scales)} scales from {scales[0]:g} to {scales[-1]:g}"


@rule(
    ERROR,
    "all are moved to floating point and back for the one that is not rounded",
    "put a pair on every input, of the same scale",
)
def bare_concat_input(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("Concat"):
        branches = _branches(graph, node)
        bare = [one for one in branches if not graph.is_rounded(one)]
        if len(bare) < len(branches):
            for one in bare:
                if comes_from_int8(graph, one, purpose.runtime):
                    yield graph.name(node), f"{maker_of(graph, one)} enters unrounded"


@rule(WARNING, "it is one more op, in floating point, and parts the convolution from what follows", "fold it before quantizing")
def batch_norm(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.of("BatchNormalization") if graph.quantized else ():
        yield graph.name(node), f"behind {maker_of(graph, node.input[0])}"


@rule(WARNING, "the classes' scores lose digits, and nothing gets faster", "leave out the pair behind the last layer")
def rounded_logits(graph: Graph, purpose: Purpose) -> Hits:
    for name in graph.outputs:
        source = graph.before_rounding(graph.source(name))
        if source != name and graph.kind(source) in ("Gemm", "MatMul"):
            yield name, f"the output of {maker_of(graph, source)} is rounded"


def main_branch(graph: Graph, node: NodeProto) -> str | None:
    """Of an addition in TensorRT's files, the branch whose convolution takes the addition along: one with no activation, which
    nothing else reads. Of two the one that is not rounded, else the last in the file. It may be rounded, and should not be."""
    under = {one: graph.before_rounding(one) for one in _branches(graph, node)}
    alone = [
        one for one, made in under.items()
        if graph.kind(made) == "Conv" and len(graph.readers[made]) == 1 and len(graph.readers[one]) == 1
    ]  # fmt: skip
    return max(alone, key=lambda one: (under[one] == one, graph.order[under[one]]), default=None)


def _branches(graph: Graph, node: NodeProto) -> list[str]:
    return [one for one in dict.fromkeys(node.input) if one and one not in graph.constants]


def _in_int8(graph: Graph, branches: list[str]) -> bool:
    return any(graph.is_rounded(one) or _rounded_layer(graph, one) for one in branches)


def _rounded_layer(graph: Graph, name: str) -> bool:
    """Is it the bare output of a quantized layer? For onnxruntime that has a rule of its own."""
    made = graph.maker.get(name)
    if made is None or made.op_type not in WEIGHTED:
        return False
    weight = graph.weight(made)
    return weight is not None and weight.rounded and graph.is_rounded(made.input[0])
