"""The one float export of a network: torch.onnx.export once, markers at the sites, no trace of where it was made."""

from __future__ import annotations

import ast
import copy
import logging
import warnings
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from torch import nn

from edgekd.core import EdgekdError

OPSET = 18  # what torch's exporter writes natively; onnxruntime >= 1.14 runs it
IR_VERSION = 8  # the one that came with opset 18
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
INPUT, OUTPUT, BATCH = "input", "logits", "batch"


def float_export(module: nn.Module, image_size: tuple[int, int], channels: int = 3) -> ModelProto:
    """Export ``module`` (``Quantized.for_export()``, or any float network) to ONNX, opset 18, float32.

    Input "input" [batch, channels, H, W], output "logits" [batch, classes]; H and W are static, the batch is free where the
    graph allows it (else 1). Ops of domain "edgekd" mark the sites. Takes seconds: call it once a model and make every flavour
    from the result.
    """
    example = torch.zeros(1, channels, *image_size)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    if program is None:
        raise EdgekdError("torch.onnx.export returned nothing")
    model = program.model_proto
    opsets = {one.domain: one.version for one in model.opset_import}
    if opsets.pop("", None) != OPSET or opsets.keys() - {"edgekd"}:
        raise EdgekdError("torch's exporter wrote other opsets than asked for", seen=str(opsets))
    model.ir_version = IR_VERSION
    _name_layers(model)
    forget_origin(model)
    return _free_batch(model)


class _quiet:
    """Hold back what the exporter says about itself: its progress log and the deprecations inside its own libraries."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(torch|onnxscript|onnx_ir|copyreg)\b")
        self._log = logging.getLogger("torch.onnx")
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)

    def __exit__(self, *error: Any) -> None:
        self._log.setLevel(self._level)
        self._warnings.__exit__(*error)


def _name_layers(model: ModelProto) -> None:
    """Give each weighted node and each Clip the name of its module or call, as the site table has it; it is noted in metadata.

    What one module makes several of is numbered: "attention", "attention/2".
    """
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type not in (*WEIGHTED, "Clip"):
            continue
        scopes = next((one.value for one in node.metadata_props if one.key == "pkg.torch.onnx.name_scopes"), "[]")
        path = [str(part) for part in ast.literal_eval(scopes)]
        if len(path) > 1:
            name = path[-2] or path[-1]
            seen[name] += 1
            node.name = name if seen[name] == 1 else f"{name}/{seen[name]}"


def forget_origin(model: ModelProto) -> None:
    """Clear metadata and doc strings: torch notes stack traces, that is local paths and source lines, at every node."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        thing.ClearField("doc_string")
        if "metadata_props" in thing.DESCRIPTOR.fields_by_name:
            thing.ClearField("metadata_props")


def _free_batch(model: ModelProto) -> ModelProto:
    """Make axis 0 of input and output symbolic, if the graph then computes each image as before; else give the model back as it
    is.

    Tracing with a symbolic batch costs three times as long and leaves shape arithmetic in the graph; the only batch baked in by
    our own vocabulary is in constant shapes of Reshape.
    """
    free = copy.deepcopy(model)
    del free.graph.value_info[:]
    for value in (*free.graph.input, *free.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    constants = {one.name: one for one in free.graph.initializer}
    for node in free.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if len(shape) and shape[0] == 1 and -1 not in shape:
                shape[0] = -1
                constants[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(0).standard_normal((2, *sizes[1:]), dtype=np.float32)
    one_by_one = np.concatenate([_run(model, images[:1]), _run(model, images[1:])])
    try:
        together = _run(free, images)
    except (Fail, InvalidArgument, RuntimeException):  # a batch of two meets a batch of one that was baked in
        return model
    same = together.shape == one_by_one.shape and np.allclose(
        together, one_by_one, rtol=1e-3, atol=1e-4 * np.abs(one_by_one).max()
    )
    return free if same else model


def _run(model: ModelProto, images: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    plain = without_markers(model)
    session = onnxruntime.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: images})[0]


def without_markers(model: ModelProto, keep: Collection[str] = ()) -> ModelProto:
    """A copy in which every reader of a marker reads what the marker reads. keep: names of sites whose markers stay."""
    plain = ModelProto()
    plain.CopyFrom(model)
    source: dict[str, str] = {}
    kept = []
    outputs = {value.name for value in plain.graph.output}
    for node in plain.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = source.get(name, name)
        if node.domain != "edgekd" or node.attribute[0].s.decode() in keep:
            kept.append(node)
        elif node.output[0] in outputs:
            kept.append(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]], name=f"{node.name}_out"))
        else:
            source[node.output[0]] = node.input[0]
    del plain.graph.node[:]
    plain.graph.node.extend(kept)
    standard = [one for one in plain.opset_import if one.domain != "edgekd"]
    del plain.opset_import[:]
    plain.opset_import.extend(standard)
    return plain
