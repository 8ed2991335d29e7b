"""Float16: the float side of a graph in half precision, between a float32 "input" and float32 "logits".

TensorRT's strongly typed builds take each tensor's type from the file, so the scales of a quantized graph become float16 too: a
DequantizeLinear makes what its scale is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.core import InputError
from edgekd.export.marked import INPUT, OPSET, OUTPUT
from edgekd.export.sessions import session

LARGEST = float(np.finfo(np.float16).max)
LEAST_SCALE = 2.0**-20  # below it a float16 has under 4 bits left; a channel or tensor so quiet gets fewer than 127 levels
_FIX = "train with weight decay or a smaller learning rate, or leave out targets with float16"


def beyond_half(model: ModelProto, inputs: NDArray[np.float32]) -> str | None:
    """The widest value of a float32 ``model``, in words, if float16 cannot hold it; else None.

    Of all its float constants, and of every op's output on ``inputs`` float32 [N,3,H,W], each computed in float32.
    """
    opened = ModelProto()
    opened.CopyFrom(model)
    graph = opened.graph
    makers = {name: node.name or name for node in graph.node for name in node.output if name}
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in makers)
    widest = {one.name: _magnitude(numpy_helper.to_array(one)) for one in graph.initializer}
    running = session(opened.SerializeToString(), optimised=False)
    for image in inputs:
        for maker, value in zip(makers.values(), running.run(list(makers), {INPUT: image[None]}), strict=True):
            widest[maker] = max(widest.get(maker, 0.0), _magnitude(value))
    where = max(widest, key=lambda name: widest[name])
    return None if widest[where] <= LARGEST else f"{widest[where]:.6g} in {where}; float16 ends at {LARGEST:.0f}"


def _magnitude(value: NDArray[Any]) -> float:
    """Largest |value| of a float32 array, infinite if one is no number; 0 of integers, which stay as they are."""
    if value.dtype != np.float32:
        return 0.0
    return float(np.nan_to_num(np.abs(value).max(initial=0.0), nan=np.inf, posinf=np.inf))


def in_half(model: ModelProto) -> ModelProto:
    """A copy with all float32 constants and ops in float16, and a Cast at either end.

    Raises InputError: a constant is beyond float16 (65504). Whether activations are, ``beyond_half`` says.
    """
    half = ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    scales = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for tensor in [one for one in graph.initializer if one.data_type == TensorProto.FLOAT]:
        every = readers.get(tensor.name, [])
        if not (in_halves := [node for node in every if _may_be_half(node, tensor.name)]):
            continue
        value = numpy_helper.to_array(tensor)
        value = np.maximum(value, np.float32(LEAST_SCALE)) if tensor.name in scales else value
        made = _tensor(value, tensor.name, in_halves[0].name)
        if len(in_halves) == len(every):
            tensor.CopyFrom(made)
        else:  # others read it as float32: these get their own
            name, made.name = tensor.name, f"{tensor.name}.half"
            graph.initializer.append(made)
            for node in in_halves:
                node.input[:] = [made.name if one == name else one for one in node.input]
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
