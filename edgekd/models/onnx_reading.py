"""A user's ONNX file, read as data: whole, without external weights, opened by onnxruntime without custom operators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as _binding

from edgekd.core import InputError
from edgekd.core.files import disk_problems

REFUSALS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(_binding).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)


def read_whole(source: Path) -> tuple[bytes, onnx.ModelProto]:
    """The file's bytes, and the model. Raises InputError: no such file, not ONNX, weights in a second file."""
    if not source.is_file():
        raise InputError("no such weights file", where=str(source), fix="give the path of an .onnx file")
    with disk_problems(source):
        content = source.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise InputError("not an ONNX file, or a damaged one", where=str(source), seen=reason(error)) from error
    elsewhere = next((tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL), None)
    if elsewhere is not None:
        where = next((entry.value for entry in elsewhere.external_data if entry.key == "location"), "another file")
        fix = f"save it as one file: python -c \"import onnx; onnx.save(onnx.load('{source.name}'), 'whole.onnx')\""
        raise InputError("the file's weights are in a second file", where=str(source), seen=where, fix=fix)
    return content, model


def opened(content: bytes, path: Path, device: torch.device) -> onnxruntime.InferenceSession:
    """As many threads as torch has, which wait without spinning: the two compute in turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")  # or 8-bit sums saturate on x86 without VNNI
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised
    wanted = {"CUDAExecutionProvider": {"device_id": str(device.index or 0)}} if device.type == "cuda" else {}
    there = onnxruntime.get_available_providers()
    providers = [(name, own) for name, own in (wanted | {"CPUExecutionProvider": {}}).items() if name in there]
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except REFUSALS as error:
        fix = "a whole .onnx file of standard operators that this onnxruntime knows"
        raise InputError("onnxruntime refuses the ONNX file", where=str(path), seen=reason(error), fix=fix) from error


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the file, those in branches and functions too."""
    holders: list[Any] = [model.graph, *model.functions]
    while holders:
        holder = holders.pop()
        yield from getattr(holder, "initializer", ())
        for attribute in (attribute for node in holder.node for attribute in node.attribute):
            yield from (attribute.t, *attribute.tensors)
            holders += [attribute.g, *attribute.graphs] if attribute.HasField("g") or attribute.graphs else []


def shown(arguments: Any) -> str:
    return "; ".join(f"{one.name} {one.type} {one.shape}" for one in arguments) or "none"


def reason(error: Exception) -> str:
    """In one line. onnxruntime says first where it stopped, in all length, and last why."""
    line = " ".join(str(error).split())
    return line if len(line) <= 500 else f"{line[:200]} … {line[-300:]}"
