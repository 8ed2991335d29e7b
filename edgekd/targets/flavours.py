"""Which files the targets of a recipe need, and the versions of TensorRT they must build on."""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.targets.profiles import profile
from edgekd.targets.target import TargetSpec, why_not_measured
from edgekd.targets.trtexec import OLDEST, version_of

INT8_FLAVOURS = ("ort", "ort-w7", "trt")
_ALWAYS = ("fp32", "ort", "ort-w7")  # the bundle runs on any CPU
_TENSORRT: Mapping[str, tuple[str, ...]] = {  # int8 is compared with fp16 there, and says with both types what it leaves float
    "fp32": (),
    "fp16": ("fp16",),
    "int8": ("trt", "fp16", "trt-fp16"),
    "int8+fp16": ("trt", "fp16", "trt-fp16"),
}


def flavours_of(specs: Mapping[str, TargetSpec]) -> tuple[str, ...]:
    """The flavours that a recipe's targets need, in a fixed order. Those of onnxruntime are always among them."""
    asked = {flavour for spec in specs.values() if spec.runtime == "tensorrt" for flavour in _TENSORRT[spec.precision]}
    return (*_ALWAYS, *(flavour for flavour in ("trt", "fp16", "trt-fp16") if flavour in asked))


def files_of(spec: TargetSpec) -> tuple[str, ...]:
    """The flavours a TensorRT target's engines are built from, its own before the yardsticks."""
    return (*_TENSORRT[spec.precision], "fp32")


def flavours_measured(specs: Mapping[str, TargetSpec]) -> tuple[str, ...]:
    """The same of those targets alone that can be measured here."""
    unmeasured = why_not_measured(specs)
    return flavours_of({name: spec for name, spec in specs.items() if name not in unmeasured})


def oldest_tensorrt(specs: Mapping[str, TargetSpec]) -> str | None:
    """The oldest TensorRT, such as "8.5", that any of a recipe's targets must build on; None without a TensorRT target."""
    versions = [version_of(spec.tensorrt or tensorrt_versions(spec)[0]) for spec in specs.values() if spec.runtime == "tensorrt"]
    return ".".join(map(str, min(versions))) if versions else None


def tensorrt_versions(spec: TargetSpec) -> tuple[str, ...]:
    """The versions of TensorRT a target may have, oldest first: those of its device's JetPacks from ``spec.tensorrt`` on."""
    oldest = version_of(spec.tensorrt) if spec.tensorrt else OLDEST
    known = dict.fromkeys(profile(spec.device).tensorrt.values())
    return tuple(one for one in known if version_of(one) >= oldest) or (spec.tensorrt or "",)
