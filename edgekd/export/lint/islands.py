"""What stays float in a quantized file, and why: single layers, and islands of ops between a DQ and the next Q."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from edgekd.export.lint.graph import DEQUANTIZE, MOVES, QUANTIZE, WEIGHTED, Graph
from edgekd.export.lint.rule import WARNING, Hits, Purpose, rule

# Ops that onnxruntime's CPU kernels compute on 8-bit integers, where a DQ feeds each input and a Q reads the output.
FUSED = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Conv",
        "Gemm",
        "GlobalAveragePool",
        "LeakyRelu",
        "MatMul",
        "Mul",
        "Sigmoid",
        "Softmax",
        "Where",
    }
)
CLAMPS = ("Relu", "Clip")  # the Q behind them does their work
# Ops that TensorRT computes in int8 or fuses with what does; the rest computes in floating point.
_OF_TENSORRT = FUSED - {"Softmax"} | {
    "BatchNormalization", "Cast", "Clip", "ConvTranspose", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Pad", "PRelu", "Relu",
    "Resize", "Selu", "Softplus", "Sub", "Sum", "Tanh",
}  # fmt: skip
SPECIAL = ("HardSigmoid", "HardSwish", "ReduceMean")  # rules of onnxruntime's own tell what to do about these
_NEVER = (QUANTIZE, DEQUANTIZE, "Constant", "Shape")


def why_float(graph: Graph, node: NodeProto, runtime: str = "") -> str | None:
    """Why this convolution or matrix product computes in floating point; None where it can in int8."""
    if not graph.quantized:
        return "the file rounds nothing"
    weight = graph.weight(node)
    factors = node.input[:1] if weight else node.input[:2]
    bare = next((one for one in factors if not graph.is_rounded(one)), None)
    said = [] if bare is None else [f"its input comes unrounded from {maker_of(graph, bare)}"]
    said += ["its weight is not rounded"] if weight and not weight.rounded else []
    if runtime == "onnxruntime" and node.op_type not in FUSED:
        said += [f"onnxruntime has no int8 {node.op_type}"]
    if not said and runtime == "onnxruntime" and node.op_type == "Conv" and (reader := unrounded_reader(graph, node)):
        said = [f"its output goes unrounded to {reader}"]
    return " and ".join(said) or None


def maker_of(graph: Graph, tensor: str) -> str:
    """In words, the op that a tensor comes from: "Gelu act_3"."""
    source = graph.source(tensor)
    if source not in graph.maker:
        return f"the input {source}" if source in graph.inputs else f"the constant {source}"
    made = graph.maker[source]
    return f"{made.op_type} {graph.name(made)}" if made.name else graph.name(made)


def unrounded_reader(graph: Graph, node: NodeProto) -> str | None:
    """Of a layer's output, the reader that is no Q and no clamp with nothing but Qs behind it; None where there is none."""
    for name in node.output[:1]:
        if name in graph.outputs:
            return "the network's output"
        for reader in graph.readers.get(name, []):
            behind = graph.readers.get(reader.output[0], []) if reader.op_type in CLAMPS and reader.output else []
            if reader.op_type != QUANTIZE and not (behind and all(one.op_type == QUANTIZE for one in behind)):
                return f"{reader.op_type} {graph.name(reader)}" if reader.name else graph.name(reader)
    return None


def ends_the_network(graph: Graph, node: NodeProto) -> bool:
    """Is what it makes, moved or cast at most, what the network gives? There no pair would make anything faster."""
    ends = [graph.source(name) for name in graph.outputs]
    cast = [graph.source(graph.maker[name].input[0]) for name in ends if graph.kind(name) == "Cast" and graph.maker[name].input]
    return any(name in node.output for name in (*ends, *cast))


@rule(
    WARNING, "it computes in floating point, at a DQ and a Q more on either side", "quantize it too; or leave it float on purpose"
)
def float_layer(graph: Graph, purpose: Purpose) -> Hits:
    for node, weight in graph.weights():
        if graph.quantized and not weight.rounded and not graph.is_rounded(node.input[0]):
            yield graph.name(node), str(why_float(graph, node))


@rule(
    WARNING,
    "its ops compute in floating point, between a DequantizeLinear before and a QuantizeLinear behind them",
    "take ops that the runtime has in int8, or leave the neighbours float as well where they are cheap",
)
def float_island(graph: Graph, purpose: Purpose) -> Hits:
    known = _known(purpose.runtime)
    for island in _islands(graph, known, purpose.runtime):
        if foreign := [node for node in island if node.op_type not in known]:
            named = ", ".join(dict.fromkeys(node.op_type for node in foreign))
            many = f"{len(island)} ops from" if len(island) > 1 else "one op,"
            yield graph.name(foreign[0]), f"{many} {graph.name(island[0])}; {purpose.runtime} has no int8 {named}"


def comes_from_int8(graph: Graph, tensor: str, runtime: str) -> bool:
    """Is it computed by an op that is int8, or could be? What float ops give is float on purpose, or part of an island."""
    made = graph.maker.get(graph.source(tensor))
    return made is not None and _in_int8(graph, made, _known(runtime))


def _known(runtime: str) -> frozenset[str]:
    return FUSED | set(CLAMPS) | set(SPECIAL) if runtime == "onnxruntime" else _OF_TENSORRT | {"ReduceMean"}


def _islands(graph: Graph, known: frozenset[str], runtime: str) -> Iterator[list[NodeProto]]:
    """Groups of connected float ops that read what int8 ops give and are read by a Q; each in the file's order.

    An int8 op gives what a DQ reads, for TensorRT also a bare output.
    """
    order = {id(node): number for number, node in enumerate(graph.nodes)}
    floating = {id(node): node for node in graph.nodes if not _in_int8(graph, node, known)}
    while floating:
        open_, island = [floating.popitem()[1]], []
        rounded_in = rounded_out = False
        while open_:
            node = open_.pop()
            island.append(node)
            above = [graph.source(name) for name in node.input if name and graph.source(name) not in graph.constants]
            made = [graph.maker[name] for name in above if name in graph.maker]
            rounded_in |= any(one.op_type == DEQUANTIZE and not graph.rounds_a_constant(one) for one in made)
            rounded_in |= runtime == "tensorrt" and any(one.op_type in known and _in_int8(graph, one, known) for one in made)
            below = list(_readers(graph, node))
            rounded_out |= any(reader.op_type == QUANTIZE for reader in below)
            for one in (*made, *below):
                if floating.pop(id(one), None) is not None:
                    open_.append(one)
        if rounded_in and rounded_out:
            yield sorted(island, key=lambda node: order[id(node)])


def _in_int8(graph: Graph, node: NodeProto, known: frozenset[str]) -> bool:
    if node.op_type in _NEVER or node.op_type in MOVES or node.op_type.startswith("QLinear"):
        return True
    return node.op_type in known and all(
        not name or name in graph.constants or graph.is_rounded(name) or _is_int8_layer(graph, name) for name in node.input
    )


def _is_int8_layer(graph: Graph, name: str) -> bool:
    return graph.kind(name) in WEIGHTED and why_float(graph, graph.maker[name]) is None


def _readers(graph: Graph, node: NodeProto) -> Iterator[NodeProto]:
    """Of its outputs, also behind moves."""
    open_, seen = [name for name in node.output if name], set(node.output)
    while open_:
        for reader in graph.readers.get(open_.pop(), []):
            if reader.op_type in MOVES:
                fresh = [name for name in reader.output if name and name not in seen]
                seen.update(fresh)
                open_ += fresh
            else:
                yield reader
