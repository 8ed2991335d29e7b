"""The pass for onnxruntime: uint8 activations, int8 weights and int32 biases of scale s_x * s_w[c], per output channel.

Two rewritings serve speed and are exact: a first convolution over 3 channels gets a fourth, all zero, which fills the kernels'
lanes of four; a ReLU that could not join a convolution becomes a LeakyReLU of slope zero, for which onnxruntime has an integer
kernel. A HardSigmoid, for which it has none, is computed on integers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from edgekd.export.marked import INPUT
from edgekd.export.rewriting import Array, Rewriting, attribute, weight_scale


def for_onnxruntime(marked: ModelProto, table: Mapping[str, Any], levels: int) -> ModelProto:
    """Opset 18 as exported. levels: largest |q| of a weight."""
    channels = marked.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    work = _Pass(marked, table, levels, channels)
    for node in work.old:
        work.emit(node)
    return work.model()


class _Pass(Rewriting):
    def __init__(self, marked: ModelProto, table: Mapping[str, Any], levels: int, channels: int) -> None:
        super().__init__(marked, table, keep={entry["name"] for entry in table["sites"]})
        self.levels = levels
        self.stem = next((marker.output[0] for marker in self.old if self._is_stem(marker, channels)), None)

    def emit(self, node: NodeProto) -> None:
        reads_site = bool(node.input) and node.input[0] in self.site_of
        if node.domain == "edgekd":
            self._site(node)
        elif self.is_quantized(node):
            self._weighted(node)
        elif node.op_type == "HardSigmoid" and reads_site:
            self._hard_sigmoid(node)
        elif node.op_type == "Relu" and reads_site:
            self.add("LeakyRelu", [node.input[0]], node.output[0], node.name, alpha=0.0)
        else:
            self.keep(node)

    def _is_stem(self, node: NodeProto, channels: int) -> bool:
        """Is this the marker of the input, of 3 channels, read by ungrouped convolutions only?"""
        if node.domain != "edgekd" or node.input[0] != INPUT or channels != 3:
            return False
        readers = self.readers.get(node.output[0], [])
        return all(one.op_type == "Conv" and attribute(one, "group", 1) == 1 and self.is_quantized(one) for one in readers)

    def _site(self, marker: NodeProto) -> None:
        name = self.site_of[marker.output[0]]
        source = marker.input[0]
        if marker.output[0] == self.stem:
            pads = self.constant("stem.pads", np.array([0, 0, 0, 0, 0, 1, 0, 0], np.int64))
            self.add("Pad", [source, pads], "stem.padded", "stem/pad")
            source = "stem.padded"
        grid = self.grid(name, self.sites[name]["scale"], np.array(self.sites[name]["zero_point"], np.uint8))
        self.quantize(source, marker.output[0], name, grid)

    def _weighted(self, node: NodeProto) -> None:
        weight = self.value(node.input[1])
        bias = self.value(node.input[2]) if len(node.input) > 2 else None
        input_scale = np.float32(self.sites[self.site_of[node.input[0]]]["scale"])
        scale_C = weight_scale(weight, bias, input_scale, self.levels)
        steps = np.rint(weight / scale_C.reshape(-1, *[1] * (weight.ndim - 1)))
        integers = np.clip(steps, -self.levels, self.levels).astype(np.int8)
        if node.input[0] == self.stem:
            integers = np.pad(integers, [(0, 0), (0, 1), (0, 0), (0, 0)])
        inputs = [node.input[0], self._dequantized(f"{node.name}.weight", integers, scale_C)]
        if bias is not None:
            bias_scale_C = input_scale * scale_C
            limit = 2**31 - 1
            bias_integers = np.clip(np.rint(bias / bias_scale_C).astype(np.float64), -limit, limit).astype(np.int32)
            inputs.append(self._dequantized(f"{node.name}.bias", bias_integers, bias_scale_C))
        self.keep(node, inputs)

    def _dequantized(self, name: str, integers: Array, scale_C: Array) -> str:
        stored = self.constant(f"{name}.quantized", integers)
        grid = self.grid(name, scale_C, np.zeros(len(scale_C), integers.dtype))
        self.add("DequantizeLinear", [stored, *grid], f"{name}.dequantized", f"{name}/dequantize", axis=0)
        return f"{name}.dequantized"

    def _hard_sigmoid(self, node: NodeProto) -> None:
        """clip(x/6 + 1/2, 0, 1) on integers: read the same uint8 tensor with scale / 6, add 1/2; the next Q saturates."""
        site = self.site_of[node.input[0]]
        name = f"{site}.sixth"
        sixth = np.float32(self.sites[site]["scale"]) / np.float32(6)
        grid = self.grid(name, sixth, np.array(self.sites[site]["zero_point"], np.uint8))
        self.add("DequantizeLinear", [f"{site}.quantized", *grid], name, f"{name}/dequantize")
        half = self.constant(f"{name}.half", np.array(127, np.uint8))
        grid = self.grid(f"{name}.half", 0.5 / 127, np.array(0, np.uint8))
        self.add("DequantizeLinear", [half, *grid], f"{name}.half.dequantized", f"{name}.half/dequantize")
        self.add("Add", [name, f"{name}.half.dequantized"], node.output[0], node.name)
