"""trtexec: which ONNX file and which options build, time and question an engine, by version of TensorRT.

An option it does not know, or is given twice, is fatal there. Checked against the option parsers of the published trtexec
sources (NVIDIA/TensorRT, samples/common/sampleOptions.cpp). The words returned name no files: a caller adds --onnx, --saveEngine,
--loadEngine, --timingCacheFile, --exportTimes, --exportProfile, --exportLayerInfo, --loadInputs and --exportOutput, which every
version has and which all take ``=PATH`` (no comma or colon in the path).
"""

from __future__ import annotations

import math

from edgekd.core import InputError
from edgekd.targets.tensorrt.versions import Version, taken_as

_MOST_WORKSPACE_MIB = 1024
_PERCENTILES = {True: "--percentile=50,90,99", False: "--percentile=90"}  # a list from 8.5 on, before one number


def flavour_to_build(version: Version, precision: str) -> str:
    """The ONNX flavour an engine of this precision is built from: up to 10.11 options choose the float type, from 10.12 on the
    file does. All have a batch of one: with a free batch trtexec builds an engine of dynamic shapes, another kind."""
    of_the_file = {"fp32": "fp32-b1", "fp16": "fp16", "int8": "trt", "int8+fp16": "trt-fp16"}
    by_options = {"fp32": "fp32-b1", "fp16": "fp32-b1", "int8": "trt", "int8+fp16": "trt"}
    return (of_the_file if _strongly_typed(version) else by_options)[precision]


def build_flags(version: Version, precision: str, workspace_mib: int = _MOST_WORKSPACE_MIB) -> list[str]:
    """Build an engine of this precision: "fp32", "fp16", "int8", "int8+fp16".

    Raises InputError: a version whose options are not known here.
    """
    version, _ = taken_as(version)
    if not _strongly_typed(version):
        typing = [f"--{one}" for one in precision.split("+") if one != "fp32"]
    else:
        typing = ["--stronglyTyped"] if version[0] == 10 else []
    honest = ["--noTF32"] if precision == "fp32" else []
    workspace = f"--workspace={workspace_mib}" if version == (8, 2) else f"--memPoolSize=workspace:{workspace_mib}"
    only_build = ["--buildOnly"] if version < (8, 6) else ["--skipInference", "--builderOptimizationLevel=3"]
    return [*typing, *honest, workspace, *only_build, "--profilingVerbosity=detailed"]


def timing_flags(version: Version, queries: int, warm_up_s: float, least_s: float = 0.0) -> list[str]:
    """Time a loaded engine: ``queries`` queries one after another, and more until ``least_s`` seconds are over (whole ones,
    rounded up: 8.2 knows no others), once it has run for ``warm_up_s`` seconds.

    With no duration trtexec stops at the number of queries; the copies of input and output are not timed, as its CUDA graph and
    busy waiting are what an app in a hurry uses. Raises InputError: an unknown version, no queries, a negative warm-up.
    """
    version, _ = taken_as(version)
    return [*_loop(version, queries, warm_up_s, least_s, graph=True), f"--avgRuns={queries}", _PERCENTILES[version >= (8, 5)]]


def layer_flags(version: Version, queries: int = 100, warm_up_s: float = 1.0) -> list[str]:
    """Time the layers of a loaded engine. A process of its own: watching the layers slows them down.

    Without CUDA graph, which can only be watched with CUDA 11.1 and newer. Raises as ``timing_flags`` does.
    """
    version, _ = taken_as(version)
    return [*_loop(version, queries, warm_up_s, 0.0, graph=False), "--dumpProfile"]


def infer_flags(version: Version) -> list[str]:
    """One query with the inputs the caller loads. Raises InputError: an unknown version.

    Where ``raw_bindings``, outputs are written to the working directory, see ``outputs.read_raw``; else let --exportOutput.
    """
    version, _ = taken_as(version)
    return ["--iterations=1", "--duration=0", "--warmUp=0", *(["--dumpRawBindingsToFile"] if raw_bindings(version) else [])]


def raw_bindings(version: Version) -> bool:
    """Whether outputs can be had byte for byte; before, only as decimals of six digits."""
    return version >= (8, 6)


def workspace_mib(memory_gib: float | None) -> int:
    """An eighth of the board's memory, which CPU and GPU share, at most 1 GiB."""
    return _MOST_WORKSPACE_MIB if memory_gib is None else min(_MOST_WORKSPACE_MIB, int(memory_gib * 1024 / 8))


def _loop(version: Version, queries: int, warm_up_s: float, least_s: float, *, graph: bool) -> list[str]:
    if queries < 1 or not warm_up_s >= 0:
        seen = f"{queries} queries after {warm_up_s} s"
        raise InputError("no such block of queries", seen=seen, fix="at least one query, after 0 s or more")
    # 8.2 reads whole numbers only: milliseconds of warm-up, seconds of duration.
    block = [f"--iterations={queries}", f"--duration={math.ceil(least_s)}", f"--warmUp={round(warm_up_s * 1000)}"]
    if version >= (11, 0):  # there all of these are the defaults, and their options tell off whoever uses them
        return block
    return [*block, "--noDataTransfers", "--useSpinWait", *(["--useCudaGraph", "--separateProfileRun"] if graph else [])]


def _strongly_typed(version: Version) -> bool:
    return version >= (10, 12)
