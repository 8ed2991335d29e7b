"""Flavours: the files made from one marked float graph, by passes over ONNX nodes alone.

    fp32      the float network
    ort       for onnxruntime: uint8 activations, int8 weights in [-127, 127], int32 biases
    ort-w7    the same with weights in [-64, 64]: 255 * 64 * 2 < 2**15, so that x86 CPUs without VNNI, which add two products in
              16 bits, never saturate
    trt       for TensorRT: int8 of zero point 0, weights and biases stored as float32
    fp32-b1   fp32 with a batch of one, for TensorRT, whose engines are compared at fixed shapes
    fp16      the float network in float16, for TensorRT; input and logits float32
    trt-fp16  trt with float16 for everything that is not int8, for strongly typed builds of TensorRT 10 and later

The float flavours are the network as it was trained. What quantization changed beside rounding (biases corrected, channels
equalised, weights trained on) comes with the weights and the site table, and only the int8 flavours have it. Files that TensorRT
may read are written in the oldest opset that has all their ops; its own have a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import ModelProto, helper

import edgekd
from edgekd.core import EdgekdError, InputError
from edgekd.export.half import in_half
from edgekd.export.lint.leaks import leaked_paths
from edgekd.export.marked import without_markers
from edgekd.export.onnxruntime_pass import for_onnxruntime
from edgekd.export.opset import HALF_SCALES, in_oldest_opset, with_opset
from edgekd.export.rewriting import with_weights
from edgekd.export.tensorrt_pass import batch_of_one, for_tensorrt

WEIGHT_BITS = {"ort": 8, "ort-w7": 7, "trt": 8, "trt-fp16": 8}
FLAVOURS = ("fp32", "ort", "ort-w7", "trt", "fp16", "trt-fp16", "fp32-b1")


def flavour(
    marked: ModelProto, state: Mapping[str, Any], sites: Mapping[str, Any], name: str, oldest_tensorrt: str | None = None
) -> ModelProto:
    """The ONNX model of one flavour. marked: ``float_export`` of ``Quantized.for_export()``; name: one of FLAVOURS.

    state: the quantized network's weights before rounding, float32, by name (``Quantized.state_dict()``); sites: its site table.
    oldest_tensorrt: such as "8.5"; what TensorRT may read is then in an opset that this version reads. Raises InputError: unknown
    flavour, a table that is not this graph's, an op too new for that TensorRT, constants beyond float16. EdgekdError: the result
    fails the ONNX checker.
    """
    if name not in FLAVOURS:
        raise InputError("unknown flavour", seen=name, fix=f"one of {', '.join(FLAVOURS)}")
    if name in WEIGHT_BITS:
        model = _int8(with_weights(marked, state, sites["unclipped"]), sites, name, oldest_tensorrt)
    else:
        model = in_oldest_opset(without_markers(marked), oldest_tensorrt)
        model = in_half(model) if name == "fp16" else model
        model = model if name == "fp32" else batch_of_one(model)
    _drop_unused(model)
    facts = {"edgekd.flavour": name, "edgekd.version": edgekd.__version__}
    if name in WEIGHT_BITS:
        facts["edgekd.weight_bits"] = str(WEIGHT_BITS[name])
    helper.set_model_props(model, facts)
    model.producer_name, model.producer_version = "edgekd", edgekd.__version__
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EdgekdError("the exported file is not valid ONNX", where=name, seen=str(error).splitlines()[0]) from error
    if leaked := leaked_paths(model):
        raise EdgekdError("the exported file holds local paths", where=name, seen=", ".join(leaked))
    return model


def _int8(marked: ModelProto, sites: Mapping[str, Any], name: str, oldest_tensorrt: str | None) -> ModelProto:
    levels = sites["weights"]["trt" if name == "trt-fp16" else name]
    if name in ("ort", "ort-w7"):
        return for_onnxruntime(marked, sites, levels)
    model = for_tensorrt(marked, sites, levels)
    return in_oldest_opset(model, oldest_tensorrt) if name == "trt" else with_opset(in_half(model), HALF_SCALES)


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
