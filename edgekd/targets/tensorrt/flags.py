"""trtexec: which ONNX file and which options build an engine, by version of TensorRT. An option it does not know is fatal there.

Checked against the option parsers of the published trtexec sources (NVIDIA/TensorRT, samples/common/sampleOptions.cpp).
"""

from __future__ import annotations

from edgekd.core import InputError

Version = tuple[int, int]

OLDEST: Version = (8, 2)  # 8.0 does not list an engine's layers
_KNOWN = "8.2, 8.4 to 8.6, 10.x and 11.x"
_MOST_WORKSPACE_MIB = 1024


def version_of(text: str) -> Version:
    """(10, 3) of "10.3", "10.3.0.30". Raises InputError for what is no version."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        raise InputError("not a version of TensorRT", seen=text, fix='such as "8.5"')
    return int(parts[0]), int(parts[1])


def flavour_to_build(version: Version, precision: str) -> str:
    """The ONNX flavour an engine of this precision is built from: up to 10.11 options choose the float type, from 10.12 on the
    file does. All have a batch of one: with a free batch trtexec builds an engine of dynamic shapes, another kind."""
    of_the_file = {"fp32": "fp32-b1", "fp16": "fp16", "int8": "trt", "int8+fp16": "trt-fp16"}
    by_options = {"fp32": "fp32-b1", "fp16": "fp32-b1", "int8": "trt", "int8+fp16": "trt"}
    return (of_the_file if _strongly_typed(version) else by_options)[precision]


def build_flags(version: Version, precision: str, workspace_mib: int = _MOST_WORKSPACE_MIB) -> list[str]:
    """trtexec's options, beside the names of files, for an engine of this precision: "fp32", "fp16", "int8", "int8+fp16".

    Raises InputError: a version whose options are not known here.
    """
    major, minor = version
    if version not in ((8, 2), (8, 4), (8, 5), (8, 6)) and major not in (10, 11):
        raise InputError("the options of this TensorRT are not known", seen=f"{major}.{minor}", fix=f"known: {_KNOWN}")
    if not _strongly_typed(version):
        typing = [f"--{one}" for one in precision.split("+") if one != "fp32"]
    else:
        typing = ["--stronglyTyped"] if major == 10 else []
    honest = ["--noTF32"] if precision == "fp32" else []
    workspace = f"--workspace={workspace_mib}" if version == (8, 2) else f"--memPoolSize=workspace:{workspace_mib}"
    only_build = ["--buildOnly"] if version < (8, 6) else ["--skipInference", "--builderOptimizationLevel=3"]
    return [*typing, *honest, workspace, *only_build, "--profilingVerbosity=detailed"]


def workspace_mib(memory_gib: float | None) -> int:
    """An eighth of the board's memory, which CPU and GPU share, at most 1 GiB."""
    return _MOST_WORKSPACE_MIB if memory_gib is None else min(_MOST_WORKSPACE_MIB, int(memory_gib * 1024 / 8))


def _strongly_typed(version: Version) -> bool:
    return version >= (10, 12)
