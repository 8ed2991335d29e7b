"""Float16: the float side of a graph in half precision, between a float32 "input" and float32 "logits".

TensorRT's strongly typed builds take each tensor's type from the file, so the scales of a quantized graph become float16 too: a
DequantizeLinear makes what its scale is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.core import InputError
from edgekd.export.marked import INPUT, OPSET, OUTPUT

LARGEST = float(np.finfo(np.float16).max)
LEAST_SCALE = 2.0**-20  # below it a float16 has under 4 bits left; a channel or tensor so quiet gets fewer than 127 levels
_FIX = "train with weight decay or a smaller learning rate, or leave out targets with float16"


def in_half(model: ModelProto, table: Mapping[str, Any]) -> ModelProto:
    """A copy with all float32 constants and ops in float16, and a Cast at either end.

    Raises InputError: a constant, or by the site table an activation, is beyond float16 (65504).
    """
    for site in table["sites"]:
        if max(-site["low"], site["high"]) > LARGEST:
            seen = f"{site['low']:.3g} to {site['high']:.3g}"
            raise InputError("activations overflow float16", where=site["name"], seen=seen, fix=_FIX)
    half = ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    reader = {name: node for node in graph.node for name in node.input}
    scales = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name in reader and _may_be_half(reader[tensor.name], tensor.name):
            value = numpy_helper.to_array(tensor)
            value = np.maximum(value, np.float32(LEAST_SCALE)) if tensor.name in scales else value
            tensor.CopyFrom(_tensor(value, tensor.name, reader[tensor.name].name))
    for node in graph.node:
        _ops_own_types(node)
        node.input[:] = [f"{INPUT}.half" if name == INPUT else name for name in node.input]
        node.output[:] = [f"{OUTPUT}.half" if name == OUTPUT else name for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", [INPUT], [f"{INPUT}.half"], name=f"{INPUT}/half", to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", [f"{OUTPUT}.half"], [OUTPUT], name=f"{OUTPUT}/float", to=TensorProto.FLOAT))
    del graph.value_info[:]
    return half


def _tensor(value: Any, name: str, where: str) -> TensorProto:
    largest = float(np.abs(value).max(initial=0.0))
    if not largest <= LARGEST:
        raise InputError("a constant overflows float16", where=where, seen=f"{name}: {largest:.3g}", fix=_FIX)
    return numpy_helper.from_array(value.astype(np.float16), name)


def _may_be_half(node: NodeProto, name: str) -> bool:
    """False for the few inputs that are float32 whatever the data is, such as the scales of Resize."""
    inputs = onnx.defs.get_schema(node.op_type, OPSET).inputs
    types = inputs[min(list(node.input).index(name), len(inputs) - 1)].types
    return "tensor(float16)" in types or node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _ops_own_types(node: NodeProto) -> None:
    """Ops that say which type they make."""
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_tensor(numpy_helper.to_array(attribute.t), attribute.t.name, node.name))
