"""Which files the targets of a recipe need, and the versions of TensorRT they must build on."""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.targets.cpu_runtime import cpu_runtime
from edgekd.targets.target import TargetSpec, tensorrt_versions
from edgekd.targets.tensorrt.engines import FILES, files_of
from edgekd.targets.tensorrt.versions import version_of

INT8_FLAVOURS = ("ort", "ort-w7", "trt")
_ALWAYS = ("fp32", "ort", "ort-w7")  # the bundle runs on any CPU


def flavours_of(specs: Mapping[str, TargetSpec]) -> tuple[str, ...]:
    """The flavours that a recipe's targets need, in a fixed order. Those of onnxruntime are always among them."""
    asked = {flavour for spec in specs.values() for flavour in _asked_by(spec)}
    return (*_ALWAYS, *(flavour for flavour in FILES if flavour in asked))


def _asked_by(spec: TargetSpec) -> tuple[str, ...]:
    if spec.runtime == "tensorrt":
        return files_of(spec)
    return () if spec.precision == "fp32" else cpu_runtime(spec.runtime).flavours


def int8_flavours_of(specs: Mapping[str, TargetSpec]) -> tuple[str, ...]:
    """Of what a recipe's targets need, the ways to round to int8, as flavours: trt-fp16 rounds as trt does."""
    rounded = {flavour.removesuffix("-fp16") for flavour in flavours_of(specs)}
    return tuple(flavour for flavour in INT8_FLAVOURS if flavour in rounded)


def oldest_tensorrt(specs: Mapping[str, TargetSpec]) -> str | None:
    """The oldest TensorRT, such as "8.5", that any of a recipe's targets must build on; None without a TensorRT target."""
    on_tensorrt = [spec for spec in specs.values() if spec.runtime == "tensorrt"]
    asked = [[spec.tensorrt] if spec.tensorrt else tensorrt_versions(spec) for spec in on_tensorrt]
    versions = [version_of(version) for one in asked for version in one]
    return ".".join(map(str, min(versions))) if versions else None
