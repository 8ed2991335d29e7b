"""Which layers an engine really has, in what type they compute, and how long each takes: --exportLayerInfo, --exportProfile.

An engine tells more than names only if it was built with --profilingVerbosity=detailed. What a layer computes in is read, never
guessed: where the file does not tell, dtype is None and "why" says what was missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.core import DeviceError
from edgekd.targets.tensorrt.exported import array_of, json_of

PROVIDER = "TensorRT"
_FIX = "is the device's disk full? Run the same command again"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")  # 0x1e and 0x1f join the ONNX names of a fused layer
_ONNX_NAME = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
# ONNX's name by words in TensorRT's LayerType and ParameterType: CaskConvolution, CaskGemmConvolution, gemm, MatrixMultiply, ...
_OPS = (
    ("ConvTranspose", re.compile(r"(?i)deconv")),
    ("Conv", re.compile(r"(?i)conv(?!ert)")),
    ("MatMul", re.compile(r"(?i)gemm|matrix_?multiply|matmul|fully_?connected")),
    ("Myelin", re.compile(r"(?i)myelin|foreign_?node|subgraph")),
)
_IN_GENERATED = re.compile(
    r"(?i)gemm|matmul|mha|conv(?!ert)"
)  # a generated kernel ("kgen") is pointwise unless its name says more
_TYPES = {
    "int8": "int8", "fp16": "float16", "half": "float16", "fp32": "float", "float": "float", "bf16": "bfloat16",
    "bfloat16": "bfloat16", "fp8": "float8", "fp64": "double", "double": "double", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "bool": "bool", "int4": "int4", "fp4": "float4",
}  # fmt: skip
_TYPE = re.compile(rf"(?i)\b({'|'.join(_TYPES)})\b")
_TACTIC = re.compile(r"_(i8|f16|bf16|tf32|f32)(?:i8|i32|f16|bf16|tf32|f32)_")  # the input's type, then the output's
_OF_TACTIC = {"i8": "int8", "f16": "float16", "bf16": "bfloat16", "tf32": "float", "f32": "float"}


def read_layers(text: str, where: str) -> list[dict[str, Any]]:
    """[{"op", "name", "provider": "TensorRT", "dtype", "kernel"}] of --exportLayerInfo, in the engine's order, for
    ``float_layers``; "onnx": the ONNX nodes a layer is made of, where told; "why": where dtype is None.

    op: ONNX's name for convolutions and matrix products; "Myelin" for a part of the network compiled as one, which may hold
    some; "unknown" where only names were exported; else TensorRT's. Raises DeviceError: a missing, cut or other file.
    """
    document = json_of(text, "layers", where, _FIX)
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list) or not layers:
        raise DeviceError("the file of the layers lists none", where=where, seen=text[:200], fix=_FIX)
    return [_layer(one, where) for one in layers]


def read_profile(text: str, where: str) -> list[tuple[str, float]]:
    """(name, average ms) by layer of --exportProfile, in the engine's order. Raises DeviceError: a missing, cut or other file."""
    times = []
    for record in array_of(text, "layers' times", where, _FIX):
        if isinstance(record, dict) and "count" in record and "name" not in record:
            continue
        name, ms = (record.get("name"), record.get("averageMs")) if isinstance(record, dict) else (None, None)
        if not isinstance(name, str) or isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 <= ms < 1e9:
            raise DeviceError("a layer without a name or a time", where=where, seen=str(record)[:200], fix=_FIX)
        times.append((_clean(name), float(ms)))
    if not times:
        raise DeviceError("no layer was timed", where=where, seen=text[:200], fix=_FIX)
    return times


def with_times(layers: Sequence[Mapping[str, Any]], times: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """The layers with "ms", None where none was taken (layers that only rename memory are not timed)."""
    left: dict[str, list[float]] = {}
    for name, ms in times:
        left.setdefault(name, []).append(ms)
    return [{**layer, "ms": taken.pop(0) if (taken := left.get(layer["name"])) else None} for layer in layers]


def _layer(one: Any, where: str) -> dict[str, Any]:
    if isinstance(one, str):
        reason = "the engine tells names only: it was built without --profilingVerbosity=detailed"
        return {"op": "unknown", "name": _clean(one), "provider": PROVIDER, "dtype": None, "kernel": "unknown", "why": reason}
    if not isinstance(one, dict) or not isinstance(one.get("Name"), str):
        raise DeviceError("a layer without a name", where=where, seen=str(one)[:200], fix=_FIX)
    kernel = _clean(str(one.get("LayerType", "unknown")))
    op = _op(one, kernel)
    dtype, why = _dtype(one, op)
    layer: dict[str, Any] = {"op": op, "name": _clean(one["Name"]), "provider": PROVIDER, "dtype": dtype, "kernel": kernel}
    if onnx := [_clean(name) for name in _ONNX_NAME.findall(str(one.get("Metadata", "")))]:
        layer["onnx"] = onnx
    return layer if why is None else {**layer, "why": why}


def _op(one: Mapping[str, Any], kernel: str) -> str:
    if kernel.lower() == "kgen":
        return "Myelin" if _IN_GENERATED.search(f"{one['Name']} {one.get('TacticName', '')}") else kernel
    if "ForeignNode[" in one["Name"]:
        return "Myelin"
    told = f"{kernel} {one.get('ParameterType', '')}"
    return next((op for op, pattern in _OPS if pattern.search(told)), kernel)


def _dtype(one: Mapping[str, Any], op: str) -> tuple[str | None, str | None]:
    """What a layer computes in, or why that cannot be told."""
    if op == "Myelin":
        return None, "several layers compiled into one; the types inside are not told"
    inputs = one.get("Inputs")
    types = [_type(_format(tensor)) for tensor in inputs] if isinstance(inputs, list) else []
    if not types or types[0] is None:
        seen = _format(inputs[0]) if isinstance(inputs, list) and inputs else "no inputs"
        return None, f"the type of its input is not told: {_clean(seen)[:80]}"
    weights = next(
        (_type(str(value.get("Type"))) for key, value in one.items() if key.endswith("Weights") and _typed(value)), None
    )
    if weights is not None:
        return (types[0] if weights == "int8" else weights if types[0] == "int8" else types[0]), None
    if op in ("Conv", "ConvTranspose", "MatMul") and len(set(types)) > 1:
        # which input is a factor, and which only added at the end, is in the tactic's name or nowhere
        tactic = _TACTIC.search(str(one.get("TacticName", "")))
        if tactic is None:
            return None, f"its inputs are of several types: {', '.join(map(str, types))}"
        return _OF_TACTIC[tactic[1]], None
    return types[0], None


def _format(tensor: Any) -> str:
    if not isinstance(tensor, dict):
        return ""
    return str(tensor.get("Format/Datatype", tensor.get("Datatype", "")))


def _type(told: str) -> str | None:
    found = _TYPE.search(told)
    return _TYPES[found[1].lower()] if found else None


def _typed(value: Any) -> bool:
    return isinstance(value, dict) and "Type" in value and bool(value.get("Count", 1))


def _clean(text: str) -> str:
    return _CONTROLS.sub(" + ", text)
