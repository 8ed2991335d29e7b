"""Which tensors of two files are the same one: by name, or by the order of the layers that make them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from onnx import NodeProto

from edgekd.export.lint.graph import DEQUANTIZE, QUANTIZE, WEIGHTED, Graph

_RELUS = ("Clip", "LeakyRelu")  # what a ReLU becomes where a pass makes it one of these, and the other way round
_MOST_ALIGNED = 2000  # layers; aligning takes the square of their number


@dataclass(frozen=True)
class Pair:
    """A tensor of the first file and of the second. node, op: what makes it in the first; a node's name, or else its place."""

    first: str
    second: str
    node: str
    op: str


def matched(first: Graph, second: Graph) -> tuple[list[Pair], str]:
    """The pairs in the first file's order, and how they were found: "name", "order" or, where there are none, "".

    Of float ops whose result depends on the image. Names are trusted where at least half of the first file's inner layers have
    the same name and op in the second, as in what a quantizer makes of a float file; else layers are aligned by op and weight.
    """
    mine, others = _computed(first), _computed(second)
    same = [name for name, node in mine.items() if name in others and _kind(others[name]) == _kind(node)]
    layers = [name for name, node in mine.items() if node.op_type in WEIGHTED and name not in first.outputs]
    if same and 2 * len(set(layers) & set(same)) >= len(layers):
        return [Pair(name, name, first.name(mine[name]), mine[name].op_type) for name in same], "name"
    pairs = [
        Pair(one, other, first.name(mine[one]), mine[one].op_type)
        for one, other in _aligned(_layers(first, mine), _layers(second, others))
    ]
    return pairs, "order" if pairs else ""


def _kind(node: NodeProto) -> str:
    return "Relu" if node.op_type in _RELUS else node.op_type


def _computed(graph: Graph) -> dict[str, NodeProto]:
    """What float ops make of the input, by name, in order."""
    depends, found = set(graph.inputs), dict[str, NodeProto]()
    for node in graph.nodes:
        if not depends.isdisjoint(node.input):
            depends.update(node.output)
            if node.op_type not in (QUANTIZE, DEQUANTIZE):
                found.update((name, node) for name in node.output if name)
    return found


def _layers(graph: Graph, computed: dict[str, NodeProto]) -> list[tuple[str, tuple[object, ...]]]:
    """Output and signature of each layer."""
    layers = []
    for name, node in computed.items():
        if node.op_type in WEIGHTED:
            weight = graph.weight(node)
            shape = tuple(graph.constants[weight.name].dims) if weight else ()
            layers.append((name, (node.op_type, *shape)))
    return layers


def _aligned(first: list[tuple[str, tuple[object, ...]]], second: list[tuple[str, tuple[object, ...]]]) -> list[tuple[str, str]]:
    ours, theirs = [signature for _, signature in first], [signature for _, signature in second]
    if ours == theirs:
        return [(one, other) for (one, _), (other, _) in zip(first, second, strict=True)]
    if max(len(ours), len(theirs)) > _MOST_ALIGNED:
        return []
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return [(first[block.a + at][0], second[block.b + at][0]) for block in blocks for at in range(block.size)]
