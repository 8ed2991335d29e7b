"""What every pass shares: the marked graph read by name, the new nodes and initialisers, the grids of weights.

Shape suffix: C output channels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.core import EdgekdError, InputError
from edgekd.core.rounding import BIAS_BITS, LEAST_SCALE
from edgekd.export.marked import without_markers

_MISMATCH = "graph and site table do not belong together"

Array = NDArray[Any]


class Rewriting:
    """A marked graph on its way to a flavour: ``add`` nodes and ``constant``s in order, then take the model.

    keep: names of the sites the flavour has; the markers of the others are passed over. Raises InputError: graph and table do
    not belong together.
    """

    def __init__(self, marked: ModelProto, table: Mapping[str, Any], keep: Collection[str]) -> None:
        _check(marked, table)
        self.table = table
        self.sites = {entry["name"]: entry for entry in table["sites"]}
        self.layers = {entry["layer"]: entry for entry in table["layers"]}
        self._model = without_markers(marked, keep)
        self.old = list(self._model.graph.node)
        self.site_of = {node.output[0]: site_name(node) for node in self.old if node.domain == "edgekd"}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.old:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self._constants = {one.name: one for one in self._model.graph.initializer}
        self._nodes: list[NodeProto] = []
        self._made: dict[str, Array] = {}

    def is_quantized(self, node: NodeProto) -> bool:
        return node.op_type in ("Conv", "Gemm") and node.name in self.layers

    def value(self, name: str) -> Array:
        """Of an initialiser of the marked graph."""
        return numpy_helper.to_array(self._constants[name])

    def constant(self, name: str, value: Array) -> str:
        self._made[name] = value
        return name

    def keep(self, node: NodeProto, inputs: list[str] | None = None) -> None:
        """The node as it is, or with other inputs."""
        copy = NodeProto()
        copy.CopyFrom(node)
        if inputs is not None:
            copy.input[:] = inputs
        self._nodes.append(copy)

    def add(self, op: str, inputs: list[str], output: str, name: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))

    def grid(self, name: str, scale: float | np.float32 | Array, zero_point: Array) -> list[str]:
        """Scale (float32) and zero point as constants; scalars for a tensor, [C] for weights."""
        return [
            self.constant(f"{name}.scale", np.asarray(scale, np.float32)),
            self.constant(f"{name}.zero_point", zero_point),
        ]

    def quantize(self, source: str, output: str, name: str, grid: list[str], **attributes: Any) -> None:
        """QuantizeLinear, DequantizeLinear."""
        self.add("QuantizeLinear", [source, *grid], f"{name}.quantized", f"{name}/quantize", **attributes)
        self.add("DequantizeLinear", [f"{name}.quantized", *grid], output, f"{name}/dequantize", **attributes)

    def model(self) -> ModelProto:
        graph = self._model.graph
        del graph.node[:]
        graph.node.extend(self._nodes)
        del graph.value_info[:]
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self._made.items())
        return self._model


def _check(marked: ModelProto, table: Mapping[str, Any]) -> None:
    """Does every site and every quantized layer of the table stand in the graph, each layer behind its site?"""
    site_of = {node.output[0]: site_name(node) for node in marked.graph.node if node.domain == "edgekd"}
    layers = {node.name: node for node in marked.graph.node if node.op_type in ("Conv", "Gemm")}
    if odd := sorted(set(site_of.values()) ^ {entry["name"] for entry in table["sites"]}):
        raise InputError(_MISMATCH, seen=f"{', '.join(odd[:3])} in one of them only")
    if missing := sorted({entry["layer"] for entry in table["layers"]} - layers.keys()):
        raise InputError(_MISMATCH, seen=f"layers {', '.join(missing[:3])} not found")
    for entry in table["layers"]:
        node = layers[entry["layer"]]
        if (site := site_of.get(node.input[0])) != entry["input"]:
            raise InputError(_MISMATCH, where=node.name, seen=f"it reads {site}")
        if node.op_type == "Gemm" and attribute(node, "transB", 0) != 1:
            raise EdgekdError("a Gemm without transB has its channels on another axis", where=node.name)


def with_weights(marked: ModelProto, state: Mapping[str, Any], unclipped: Collection[str]) -> ModelProto:
    """A copy with other weights and biases in its layers.

    state: arrays or tensors by name; unclipped: names of the Clips that become ReLUs. Raises InputError: no Clip of that name.
    """
    model = ModelProto()
    model.CopyFrom(marked)
    made: dict[str, TensorProto] = {}
    clips = {node.name for node in model.graph.node if node.op_type == "Clip"}
    if missing := sorted(set(unclipped) - clips):
        raise InputError(_MISMATCH, seen=f"Clips {', '.join(missing[:3])} not found")
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            for place, name in enumerate((f"{node.name}.weight", f"{node.name}.bias"), start=1):
                if name in state:
                    del node.input[place : place + 1]  # none where the exporter left out a bias of zeros
                    node.input.insert(place, name)  # it makes equal weights one; these need not be equal
                    made[name] = numpy_helper.from_array(np.asarray(state[name]), name)
        elif node.op_type == "Clip" and node.name in unclipped:
            node.op_type = "Relu"
            del node.input[1:]
    read = {name for node in model.graph.node for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in read - made.keys()]
    del model.graph.initializer[:]
    model.graph.initializer.extend((*kept, *made.values()))
    return model


def weight_scale(weight: Array, bias: Array | None, input_scale: np.float32, levels: int) -> Array:
    """float32 [C] per output channel: max|w| / levels, raised where an int32 bias would overflow. To the bit as simulated."""
    scale_C = np.abs(weight).reshape(len(weight), -1).max(1) / np.float32(levels)
    if bias is not None:
        scale_C = np.maximum(scale_C, np.abs(bias) / (input_scale * np.float32(2**BIAS_BITS)))
    floored_C: Array = np.maximum(scale_C, np.float32(LEAST_SCALE)).astype(np.float32)
    return floored_C


def site_name(marker: NodeProto) -> str:
    return str(attribute(marker, "name", b"").decode())


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
