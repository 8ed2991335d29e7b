"""The pass for TensorRT: explicit Q/DQ, int8 with zero point 0 everywhere, weights and biases as floats in the file.

A weight goes float -> QuantizeLinear -> DequantizeLinear along axis 0, which every TensorRT from 8.0 on folds; an int8
initialiser it reads from 10 on only. Zero points are always written: older parsers want three inputs. Source: NVIDIA's TensorRT
developer guide, "Explicit Quantization"; onnx-tensorrt's QuantizeLinear importer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from edgekd.export.rewriting import Rewriting, weight_scale


def for_tensorrt(marked: ModelProto, table: Mapping[str, Any], levels: int) -> ModelProto:
    """Opset 18 as exported, batch of one. levels: largest |q| of a weight."""
    work = Rewriting(marked, table, keep={entry["name"] for entry in table["sites"] if "trt" in entry["flavours"]})
    for node in work.old:
        if node.domain == "edgekd":
            name = work.site_of[node.output[0]]
            work.quantize(
                node.input[0], node.output[0], name, work.grid(name, work.sites[name]["trt_scale"], np.array(0, np.int8))
            )
        elif work.is_quantized(node):
            _weighted(work, node, levels)
        else:
            work.keep(node)
    return batch_of_one(work.model())


def _weighted(work: Rewriting, node: NodeProto, levels: int) -> None:
    name = f"{node.name}.weight"
    scale_C = weight_scale(work.value(node.input[1]), None, np.float32(1), levels)
    grid = work.grid(name, scale_C, np.zeros(len(scale_C), np.int8))
    work.quantize(node.input[1], f"{name}.dequantized", name, grid, axis=0)
    work.keep(node, [node.input[0], f"{name}.dequantized", *node.input[2:]])


def batch_of_one(model: ModelProto) -> ModelProto:
    """Fix axis 0 of input and output, in place: TensorRT then needs no optimisation profile."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model
