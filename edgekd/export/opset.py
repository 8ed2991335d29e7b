"""Opsets: the oldest one a graph can be written in, if TensorRT reads that.

A node is legal in an older opset if that opset's own schema has all its inputs and attributes. Attributes at their default are
left out, and the constant axes of a reduction become an attribute again; nothing else our networks export to needs rewriting.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.core import InputError
from edgekd.export.marked import OPSET
from edgekd.export.tensorrt_reads import newest_read_by

OLDEST = 13  # the first with scales per channel
HALF_SCALES = 19  # the first in which a scale may be float16


def in_oldest_opset(model: ModelProto, tensorrt: str | None) -> ModelProto:
    """A copy in the oldest opset that has all its nodes, at least 13. Raises InputError: that is newer than TensorRT reads."""
    older = ModelProto()
    older.CopyFrom(model)
    constants = {one.name: one for one in older.graph.initializer}
    newest, opset = newest_read_by(tensorrt) if tensorrt else OPSET, OLDEST
    for node in older.graph.node:
        _drop_defaults(node)
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and len(node.input) > 1:
            axes = numpy_helper.to_array(constants[node.input.pop()])
            node.attribute.append(helper.make_attribute("axes", axes))
        needed = next(version for version in range(OLDEST, OPSET + 1) if _legal(node, version))
        if needed > newest:
            seen = f"{node.op_type} needs opset {needed}; TensorRT {tensorrt} reads {newest} at most"
            fix = "ask for a newer TensorRT in the target, or take a network without this op"
            raise InputError("the network needs a newer ONNX opset than TensorRT reads", where=node.name, seen=seen, fix=fix)
        opset = max(opset, needed)
    return with_opset(older, opset)


def with_opset(model: ModelProto, opset: int) -> ModelProto:
    """Declare the opset, in place, and the IR version that came with it (8 up to opset 18)."""
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = max(8, helper.find_min_ir_version_for(model.opset_import))
    return model


def _drop_defaults(node: NodeProto) -> None:
    known = onnx.defs.get_schema(node.op_type, OPSET).attributes
    kept = [one for one in node.attribute if helper.get_attribute_value(one) != _default(known[one.name])]
    del node.attribute[:]
    node.attribute.extend(kept)


def _default(attribute: onnx.defs.OpSchema.Attribute) -> object:
    return helper.get_attribute_value(attribute.default_value) if attribute.default_value.name else None


def _legal(node: NodeProto, opset: int) -> bool:
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:  # the op is younger
        return False
    names = {one.name for one in node.attribute}
    return names <= schema.attributes.keys() and schema.min_input <= len(node.input) <= schema.max_input
