"""A graph as the rules read it: who makes and reads a tensor, constants, roundings, the weights of layers.

Whatever the file says, nothing here recurses, loops for ever, takes the square of its length, or opens another file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# They copy values, so that a scale passes through them; of MaxPool that holds for the values it keeps.
MOVES = frozenset(
    {
        "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Split",
        "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
_NO_NUMBERS = (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128)
_INTEGERS = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32)


@dataclass(frozen=True)
class Grid:
    """Of a Q or DQ. scale, zero: values, None where the file does not hold them; written: it has a zero point at all; type: of
    the integers, a TensorProto type, 0 where it is not told."""

    scale: NDArray[Any] | None
    zero: NDArray[Any] | None
    written: bool
    type: int
    axis: int


@dataclass(frozen=True)
class Weight:
    """Of a layer. name: of the constant. quantize, dequantize: what rounds it; an int8 constant has no quantize. moved: something
    between them and the layer turns or reshapes it."""

    name: str
    quantize: NodeProto | None
    dequantize: NodeProto | None
    moved: bool

    @property
    def rounded(self) -> bool:
        return self.dequantize is not None


class Graph:
    """nodes: of the main graph, in the file's order. flavour, weight_bits: as edgekd's own files say, "" of others."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.model, self.nodes = model, list(graph.node)
        self.constants: dict[str, TensorProto] = {one.name: one for one in graph.initializer}
        self.maker: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = {}
        self.order: dict[str, int] = {}  # of the node that makes a tensor
        self._names: dict[int, str] = {}
        self._source: dict[str, str] = {}
        self._rounded: set[str] = set()
        for number, node in enumerate(self.nodes):
            self._names[id(node)] = node.name or f"{node.op_type}, node {number + 1}"
            for name in dict.fromkeys(one for one in node.input if one):
                self.readers.setdefault(name, []).append(node)
            for name in node.output:
                self.maker[name], self.order[name] = node, number
                self._follow(node, name)
            if node.op_type == "Constant" and node.output:
                self.constants.update((node.output[0], one.t) for one in node.attribute if one.name == "value")
        self.inputs = {one.name: one for one in graph.input if one.name not in self.constants}
        self.outputs = [one.name for one in graph.output]
        ours = model.producer_name == "edgekd"  # another tool that works on our file keeps the metadata and writes its own name
        facts = {one.key: one.value for one in model.metadata_props if ours}
        self.flavour, self.weight_bits = facts.get("edgekd.flavour", ""), facts.get("edgekd.weight_bits", "")
        self.external = [one.name for one in self.constants.values() if one.data_location == TensorProto.EXTERNAL]
        self.quantized = any(node.op_type in (QUANTIZE, DEQUANTIZE) for node in self.nodes)
        self.opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)

    def _follow(self, node: NodeProto, made: str) -> None:
        """In one pass, which the order of a valid file allows: a file that is not sorted is invalid, and told so."""
        above = node.input[0] if node.input else ""
        moved = node.op_type in MOVES and above
        if moved:
            self._source[made] = self._source.get(above, above)
        joined = node.op_type == "Concat" and node.input and all(name in self._rounded for name in node.input)
        if node.op_type in (QUANTIZE, DEQUANTIZE) or joined or (moved and above in self._rounded):
            self._rounded.add(made)

    def name(self, node: NodeProto) -> str:
        return self._names[id(node)]

    def of(self, *ops: str) -> Iterator[NodeProto]:
        """The nodes of these ops, each with an input and an output; others are no valid ones."""
        return (node for node in self.nodes if node.op_type in ops and node.input and node.output)

    def roundings(self) -> Iterator[NodeProto]:
        """Qs and DQs; of a pair on one grid the Q alone."""
        for node in self.of(QUANTIZE, DEQUANTIZE):
            above = self.maker.get(node.input[0])
            if node.op_type == QUANTIZE or above is None or above.op_type != QUANTIZE or node.input[1:] != above.input[1:]:
                yield node

    def kind(self, tensor: str) -> str:
        """The op that makes it, "" of an input or constant."""
        return self.maker[tensor].op_type if tensor in self.maker else ""

    def value(self, tensor: str) -> NDArray[Any] | None:
        """Of a constant whose values are in this file, real numbers, else None."""
        constant = self.constants.get(tensor)
        if constant is None or constant.data_location == TensorProto.EXTERNAL or constant.data_type in _NO_NUMBERS:
            return None
        try:
            return np.asarray(numpy_helper.to_array(constant))
        except (ValueError, TypeError, KeyError, OverflowError):  # fewer bytes than its shape says, an unknown type
            return None

    def source(self, tensor: str) -> str:
        """The tensor whose values it has, moved; itself where nothing moved it."""
        return self._source.get(tensor, tensor)

    def is_rounded(self, tensor: str) -> bool:
        """All its values stand on grids: they come, moved or joined, from DQs (or, where one is missing, from a Q)."""
        return tensor in self._rounded

    def before_rounding(self, tensor: str) -> str:
        """What the pair that makes it rounds; itself where no pair makes it."""
        above = self.maker[tensor].input[0] if self.kind(tensor) == DEQUANTIZE and self.maker[tensor].input else ""
        return self.maker[above].input[0] if self.kind(above) == QUANTIZE and self.maker[above].input else tensor

    def behind(self, quantize: NodeProto) -> list[NodeProto]:
        """The readers of the DQs that read a Q."""
        pairs = [one for one in self.readers.get(quantize.output[0], []) if one.op_type == DEQUANTIZE and one.output]
        return [reader for one in pairs for reader in self.readers.get(one.output[0], [])]

    def grid(self, node: NodeProto) -> Grid:
        """Of a Q or DQ."""
        written = len(node.input) > 2 and bool(node.input[2])
        scale = self.value(node.input[1]) if len(node.input) > 1 else None
        zero = self.value(node.input[2]) if written else None
        scale = None if scale is None else scale.astype(np.float64)
        return Grid(scale, zero, written, self._integers(node, written), integer(node, "axis", 1))

    def _integers(self, node: NodeProto, written: bool) -> int:
        if written and node.input[2] in self.constants:
            return int(self.constants[node.input[2]].data_type)
        if node.op_type == QUANTIZE:
            return integer(node, "output_dtype", 0) or int(TensorProto.UINT8)
        source = self.source(node.input[0]) if node.input else ""
        if source in self.constants:
            return int(self.constants[source].data_type)
        if self.kind(source) == QUANTIZE and self.maker[source] is not node:
            above = self.maker[source]
            return self._integers(above, len(above.input) > 2 and bool(above.input[2]))
        return 0

    def weight(self, node: NodeProto) -> Weight | None:
        """Of a layer of WEIGHTED; None where its second factor is no constant."""
        if len(node.input) < 2:
            return None
        direct = node.input[1]
        name = self.source(direct)
        quantize = dequantize = None
        if self.kind(name) == DEQUANTIZE and self.maker[name].input:
            dequantize = self.maker[name]
            direct, name = name, self.source(dequantize.input[0])
            if self.kind(name) == QUANTIZE and self.maker[name].input:
                quantize = self.maker[name]
                name = self.source(quantize.input[0])
        moved = self.kind(node.input[1]) in MOVES
        return Weight(name, quantize, dequantize, moved) if name in self.constants else None

    def weights(self) -> Iterator[tuple[NodeProto, Weight]]:
        """Layers with a constant weight."""
        for node in self.of(*WEIGHTED):
            if weight := self.weight(node):
                yield node, weight

    def rounds_a_constant(self, node: NodeProto) -> bool:
        """Is this Q or DQ on the way of a weight or bias, not of an activation?"""
        source = self.source(node.input[0]) if node.input else ""
        if self.kind(source) == QUANTIZE and self.maker[source].input:
            source = self.source(self.maker[source].input[0])
        return source in self.constants

    def is_integer(self, tensor: str) -> bool:
        """Does it hold integers that a DQ can read, as far as the file says?"""
        source = self.source(tensor)
        if source in self.constants:
            return self.constants[source].data_type in _INTEGERS
        if source in self.inputs:
            return self.inputs[source].type.tensor_type.elem_type in _INTEGERS
        made = self.kind(source)
        return made.startswith("QLinear") or made in (
            QUANTIZE,
            "ConvInteger",
            "MatMulInteger",
            "QGemm",
            "Cast",
            "Concat",
            "Pad",
            "",
        )


def integer(node: NodeProto, name: str, default: int) -> int:
    """An attribute that is an integer; the default where it is missing, or something else."""
    return next((one.i for one in node.attribute if one.name == name and one.type == AttributeProto.INT), default)
