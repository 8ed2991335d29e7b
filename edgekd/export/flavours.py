"""Flavours: the files made from one marked float graph and the site table, by passes over ONNX nodes alone.

    fp32     the float network; markers removed
    ort      onnxruntime: uint8 activations (markers become QuantizeLinear/DequantizeLinear), int8 weights in [-127, 127] per
    output
             channel, int32 biases of scale s_x * s_w[c]
    ort-w7   the same with weights in [-64, 64]: 255 * 64 * 2 < 2**15, so that x86 CPUs without VNNI, which add two products in
    16 bits,
             never saturate

Two further passes serve speed and are exact: a first convolution over 3 channels gets a fourth, all zero, which fills the
kernels' lanes of four; a ReLU that could not join a convolution becomes a LeakyReLU of slope zero, for which onnxruntime has an
integer kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

import edgekd
from edgekd.core import EdgekdError, InputError
from edgekd.export.marked import INPUT, leaked_paths, without_markers

FLAVOURS = ("fp32", "ort", "ort-w7")
WEIGHT_BITS = {"ort": 8, "ort-w7": 7}
LEAST_SCALE = 1e-8  # as in calibration: never a zero scale
BIAS_BITS = 30  # |bias / (s_x * s_w)| stays below 2**30

Array = NDArray[Any]


def flavour(marked: ModelProto, sites: Mapping[str, Any], name: str) -> ModelProto:
    """The ONNX model of one flavour. marked: from ``float_export``; sites: the site table; name: one of FLAVOURS.

    Raises InputError: unknown flavour, or a table that is not this graph's. EdgekdError: the result fails the ONNX checker.
    """
    if name not in FLAVOURS:
        raise InputError("unknown flavour", seen=name, fix=f"one of {', '.join(FLAVOURS)}")
    model = without_markers(marked) if name == "fp32" else _IntegerPass(marked, sites, name).run()
    _drop_unused(model)
    facts = {"edgekd.flavour": name, "edgekd.version": edgekd.__version__}
    if name in WEIGHT_BITS:
        facts["edgekd.weight_bits"] = str(WEIGHT_BITS[name])
    helper.set_model_props(model, facts)
    model.producer_name, model.producer_version = "edgekd", edgekd.__version__
    onnx.checker.check_model(model, full_check=True)
    if leaked := leaked_paths(model):
        raise EdgekdError("the exported file holds local paths", where=name, seen=", ".join(leaked))
    return model


@dataclass
class _IntegerPass:
    marked: ModelProto
    table: Mapping[str, Any]
    flavour: str
    nodes: list[NodeProto] = field(default_factory=list)
    made: dict[str, Array] = field(default_factory=dict)  # new initialisers by name

    def run(self) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(self.marked)
        graph = model.graph
        self.levels = int(self.table["weights"][self.flavour])
        self.sites = {entry["name"]: entry for entry in self.table["sites"]}
        self.layers = {entry["layer"]: entry for entry in self.table["layers"]}
        self.constants = {one.name: one for one in graph.initializer}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.site_of = {node.output[0]: _site_name(node) for node in graph.node if node.domain == "edgekd"}
        if set(self.site_of.values()) != self.sites.keys():
            odd = sorted(set(self.site_of.values()) ^ self.sites.keys())
            raise InputError("graph and site table do not belong together", seen=f"{', '.join(odd[:3])} in one of them only")
        self.quantized: set[str] = set()
        for node in graph.node:
            self._emit(node)
        if self.quantized != self.layers.keys():
            odd = sorted(self.quantized ^ self.layers.keys())
            raise InputError("graph and site table do not belong together", seen=f"layers {', '.join(odd[:3])} not found")
        del graph.node[:]
        graph.node.extend(self.nodes)
        del graph.value_info[:]
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.made.items())
        standard = [one for one in model.opset_import if one.domain != "edgekd"]
        del model.opset_import[:]
        model.opset_import.extend(standard)
        return model

    def _emit(self, node: NodeProto) -> None:
        if node.domain == "edgekd":
            self._site(node)
        elif node.op_type in ("Conv", "Gemm") and (layer := self._layer_of(node)) is not None:
            self._weighted(node, layer)
        elif node.op_type == "HardSigmoid" and node.input[0] in self.site_of:
            self._hard_sigmoid(node)
        elif node.op_type == "Relu" and node.input[0] in self.site_of:
            self._add("LeakyRelu", [node.input[0]], node.output[0], node.name, alpha=0.0)
        else:
            self.nodes.append(node)

    def _add(self, op: str, inputs: list[str], output: str, name: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))

    def _constant(self, name: str, value: Array) -> str:
        self.made[name] = value
        return name

    def _grid(self, name: str, scale: float, zero_point: int) -> list[str]:
        return [
            self._constant(f"{name}.scale", np.array(scale, np.float32)),
            self._constant(f"{name}.zero_point", np.array(zero_point, np.uint8)),
        ]

    def _site(self, node: NodeProto) -> None:
        """Marker -> QuantizeLinear, DequantizeLinear."""
        name = self.site_of[node.output[0]]
        grid = self._grid(name, self.sites[name]["scale"], self.sites[name]["zero_point"])
        source = node.input[0]
        if self._is_padded_stem(node):
            pads = self._constant("stem.pads", np.array([0, 0, 0, 0, 0, 1, 0, 0], np.int64))
            self._add("Pad", [source, pads], "stem.padded", "stem/pad")
            source = "stem.padded"
        self._add("QuantizeLinear", [source, *grid], f"{name}.quantized", f"{name}/quantize")
        self._add("DequantizeLinear", [f"{name}.quantized", *grid], node.output[0], f"{name}/dequantize")

    def _is_padded_stem(self, site: NodeProto) -> bool:
        """Is this the input, of 3 channels, read by ungrouped convolutions only?"""
        shape = self.marked.graph.input[0].type.tensor_type.shape.dim
        if site.input[0] != INPUT or len(shape) != 4 or shape[1].dim_value != 3:
            return False
        readers = self.readers.get(site.output[0], [])
        return all(one.op_type == "Conv" and _attribute(one, "group", 1) == 1 and self._layer_of(one) for one in readers)

    def _layer_of(self, node: NodeProto) -> str | None:
        return node.name if node.name in self.layers else None

    def _weighted(self, node: NodeProto, layer: str) -> None:
        """int8 weight and int32 bias behind DequantizeLinear, per output channel (axis 0)."""
        site = self.site_of.get(node.input[0])
        if site != self.layers[layer]["input"]:
            raise InputError("graph and site table do not belong together", where=layer, seen=f"it reads {site}")
        if node.op_type == "Gemm" and _attribute(node, "transB", 0) != 1:
            raise EdgekdError("a Gemm without transB has its channels on another axis", where=layer)
        weight = numpy_helper.to_array(self.constants[node.input[1]])
        bias = numpy_helper.to_array(self.constants[node.input[2]]) if len(node.input) > 2 else None
        input_scale = np.float32(self.sites[site]["scale"])
        scale_C = weight_scale(weight, bias, input_scale, self.levels)
        steps = np.rint(weight / scale_C.reshape(-1, *[1] * (weight.ndim - 1)))
        integers = np.clip(steps, -self.levels, self.levels).astype(np.int8)
        if self.site_of[node.input[0]] == self._stem_site():
            integers = np.pad(integers, [(0, 0), (0, 1), (0, 0), (0, 0)])
        inputs = [node.input[0], self._dequantized(f"{layer}.weight", integers, scale_C)]
        if bias is not None:
            bias_scale_C = input_scale * scale_C
            limit = 2**31 - 1
            bias_integers = np.clip(np.rint(bias / bias_scale_C).astype(np.float64), -limit, limit).astype(np.int32)
            inputs.append(self._dequantized(f"{layer}.bias", bias_integers, bias_scale_C))
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        self.nodes.append(copy)
        self.quantized.add(layer)

    def _stem_site(self) -> str | None:
        return next(
            (_site_name(one) for one in self.marked.graph.node if one.domain == "edgekd" and self._is_padded_stem(one)), None
        )

    def _dequantized(self, name: str, integers: Array, scale_C: Array) -> str:
        inputs = [
            self._constant(f"{name}.quantized", integers),
            self._constant(f"{name}.scale", scale_C),
            self._constant(f"{name}.zero_point", np.zeros(len(scale_C), integers.dtype)),
        ]
        self._add("DequantizeLinear", inputs, f"{name}.dequantized", f"{name}/dequantize", axis=0)
        return f"{name}.dequantized"

    def _hard_sigmoid(self, node: NodeProto) -> None:
        """clip(x/6 + 1/2, 0, 1) on integers: read the same uint8 tensor with scale / 6, add 1/2; the next Q saturates."""
        site = self.site_of[node.input[0]]
        name = f"{site}.sixth"
        grid = self._grid(name, float(np.float32(self.sites[site]["scale"]) / np.float32(6)), self.sites[site]["zero_point"])
        self._add("DequantizeLinear", [f"{site}.quantized", *grid], name, f"{name}/dequantize")
        half = [self._constant(f"{name}.half", np.array(127, np.uint8)), *self._grid(f"{name}.half", 0.5 / 127, 0)]
        self._add("DequantizeLinear", half, f"{name}.half.dequantized", f"{name}.half/dequantize")
        self._add("Add", [name, f"{name}.half.dequantized"], node.output[0], node.name)


def weight_scale(weight: Array, bias: Array | None, input_scale: np.float32, levels: int) -> Array:
    """float32 [C] per output channel: max|w| / levels, raised where the bias would leave int32. To the bit as simulated."""
    scale_C = np.abs(weight).reshape(len(weight), -1).max(1) / np.float32(levels)
    if bias is not None:
        scale_C = np.maximum(scale_C, np.abs(bias) / (input_scale * np.float32(2**BIAS_BITS)))
    floored_C: Array = np.maximum(scale_C, np.float32(LEAST_SCALE)).astype(np.float32)
    return floored_C


def _site_name(node: NodeProto) -> str:
    return str(_attribute(node, "name", b"").decode())


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
