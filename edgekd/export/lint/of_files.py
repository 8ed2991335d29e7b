"""Rules of the whole file: is it ONNX, can the device read it, what else does it need, what does it tell."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from onnx import TensorProto

from edgekd.export.lint.graph import Graph
from edgekd.export.lint.leaks import leaks
from edgekd.export.lint.rule import ERROR, OWN, WARNING, Hits, Purpose, rule
from edgekd.export.tensorrt_reads import NEWEST, newest_read_by

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_BATCH_OF_ONE = ("trt", "trt-fp16", "fp16", "fp32-b1")
_UNKNOWN_TO_TENSORRT = ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_MACHINE_LAYOUTS = ("com.microsoft.nchwc", "com.ms.internal.nhwc")


@rule(ERROR, "runtimes refuse it, each in its own words", "export it again; onnx.checker.check_model says more")
def invalid(graph: Graph, purpose: Purpose) -> Hits:
    if graph.external:
        return  # the checker would look for the other files
    try:
        onnx.checker.check_model(graph.model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError) as error:
        yield "the file", (str(error).strip() or type(error).__name__).splitlines()[0]


@rule(
    ERROR,
    "its parser does not know the newer ops, or their new forms",
    "export with an older opset_version (13 where the ops allow it), or name a newer TensorRT",
    runtimes=("tensorrt",),
)
def opset(graph: Graph, purpose: Purpose) -> Hits:
    newest = newest_read_by(purpose.tensorrt) if purpose.tensorrt else NEWEST
    if graph.opset > newest:
        yield "the file", f"opset {graph.opset}; {purpose if purpose.tensorrt else 'the newest TensorRT'} reads {newest} at most"


@rule(
    ERROR,
    "TensorRT's parser has no such op",
    "write Q/DQ pairs around float ops instead (QuantFormat.QDQ), and save nothing that onnxruntime has optimised",
    runtimes=("tensorrt",),
)
def foreign_op(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.nodes:
        if node.op_type in _UNKNOWN_TO_TENSORRT or node.domain.startswith(("com.microsoft", "com.ms.")):
            yield graph.name(node), f"{node.op_type} of {node.domain or 'ONNX'}"


@rule(
    WARNING,
    "it holds layouts chosen for the CPU it was saved on, and is slow or refused on another",
    "ship the file before onnxruntime optimised it; it does so again on each machine",
    runtimes=("onnxruntime",),
)
def machine_layout(graph: Graph, purpose: Purpose) -> Hits:
    for node in graph.nodes:
        if node.domain in _MACHINE_LAYOUTS:
            yield graph.name(node), f"{node.op_type} of {node.domain}"


@rule(
    ERROR,
    "it is not whole without them, and only this one is sent to a device or put into a bundle; nothing of them was checked here",
    "save it with its weights inside (onnx.save with save_as_external_data=False)",
)
def external_data(graph: Graph, purpose: Purpose) -> Hits:
    if graph.external:
        more = f" and {len(graph.external) - 1} more" if len(graph.external) > 1 else ""
        yield "the file", f"{graph.external[0]}{more} in {', '.join(sorted(_places(graph))[:3]) or 'no file that is named'}"


@rule(
    ERROR,
    "whoever opens it reads a file from elsewhere on the machine: this is how a model steals or breaks things",
    "do not open it with anything; ask where it comes from",
)
def external_outside(graph: Graph, purpose: Purpose) -> Hits:
    for place in sorted(_places(graph)):
        parts = (*PurePosixPath(place).parts, *PureWindowsPath(place).parts)
        if ".." in parts or place.startswith(("/", "\\")) or PureWindowsPath(place).drive or "\0" in place:
            yield "the file", place


@rule(
    WARNING,
    "nothing for the runtime; it tells everyone who gets the file about the machine it was made on",
    "clear doc_string and metadata_props of the model and its nodes before it is saved; rename the nodes",
    promised=OWN,
)
def local_paths(graph: Graph, purpose: Purpose) -> Hits:
    if found := list(leaks(graph.model)):
        name, path = found[0]
        yield name or "the file", path + (f", and {len(found) - 1} places more" if len(found) > 1 else "")


@rule(
    ERROR,
    "kernels, layouts and engines are chosen for one size; edgekd times and ships no other",
    "export with a fixed height, width and number of channels",
)
def free_size(graph: Graph, purpose: Purpose) -> Hits:
    for name, sizes in _shapes(graph).items():
        if 0 in sizes[1:]:
            yield name, _shown(sizes)


@rule(
    WARNING,
    "TensorRT needs an optimisation profile, and builds another, slower kind of engine with it",
    "fix the batch to 1 (edgekd bench and build do it in a copy)",
    runtimes=("tensorrt",),
    promised=_BATCH_OF_ONE,
)
def free_batch(graph: Graph, purpose: Purpose) -> Hits:
    for name, sizes in _shapes(graph).items():
        if sizes[:1] == [0]:
            yield name, _shown(sizes)


@rule(WARNING, "each query takes so many images: a single one waits for the others", "export with a batch of 1", promised=OWN)
def batch_of_many(graph: Graph, purpose: Purpose) -> Hits:
    for name, sizes in _shapes(graph).items():
        if len(sizes) == 4 and sizes[0] > 1:
            yield name, _shown(sizes)


@rule(
    ERROR, "whatever they touch is no number either", "train or export again; look for overflow in float16, or a division by zero"
)
def not_finite(graph: Graph, purpose: Purpose) -> Hits:
    scales = {name for node in graph.of("QuantizeLinear", "DequantizeLinear") for name in node.input[1:2]}  # rule scale
    for name, tensor in graph.constants.items():
        value = graph.value(name) if tensor.data_type in _FLOATS and name not in scales else None
        if value is not None and not np.isfinite(value).all():
            yield name, f"{value.size - np.isfinite(value).sum()} of {value.size} values are infinite or no numbers"


def _places(graph: Graph) -> set[str]:
    return {
        entry.value
        for tensor in graph.constants.values()
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _shapes(graph: Graph) -> dict[str, list[int]]:
    """Of each input, 0 where a dimension is free."""
    return {name: [max(dim.dim_value, 0) for dim in one.type.tensor_type.shape.dim] for name, one in graph.inputs.items()}


def _shown(sizes: list[int]) -> str:
    return f"[{', '.join(str(size) if size else 'free' for size in sizes)}]"
