"""Whether a network gates its own activations, x * sigmoid(x): what HardSwish and SiLU are made of."""

from __future__ import annotations

from onnx import ModelProto


def gated(marked: ModelProto) -> bool:
    """Of a float graph, with markers or without: is there a product of a tensor with its own Sigmoid or HardSigmoid?"""
    source = {node.output[0]: node.input[0] for node in marked.graph.node if node.domain == "edgekd"}
    gate = {node.output[0]: node.input[0] for node in marked.graph.node if node.op_type in ("Sigmoid", "HardSigmoid")}

    def behind(name: str) -> str:
        return behind(source[name]) if name in source else name

    for node in marked.graph.node:
        if node.op_type == "Mul":
            left, right = (behind(name) for name in node.input)
            if any(one in gate and behind(gate[one]) == other for one, other in ((left, right), (right, left))):
                return True
    return any(node.op_type in ("HardSwish", "Swish") for node in marked.graph.node)
