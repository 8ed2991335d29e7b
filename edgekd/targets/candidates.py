"""What a target runs and what it is compared with there: the precision asked for, and its yardsticks in the same runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekd.core import DeviceError, EnvironmentProblem
from edgekd.targets.cpu_runtime import cpu_runtime
from edgekd.targets.target import Target
from edgekd.targets.tensorrt.engines import built_for
from edgekd.targets.tensorrt.versions import parse_version, version_of


def candidates(target: Target, identity: Mapping[str, Any], *, gated: bool = False) -> dict[str, str]:
    """{precision: the ONNX flavour it is made from}, the target's own precision first, fp32 last.

    identity: of the device, which decides: the flavour of int8 by its CPU, the files of TensorRT by its version. gated: the
    network gates its own activations, which some runtimes want another int8 file for (``cpu_runtime``). Raises
    EnvironmentProblem: no TensorRT is there; DeviceError: an older one than the recipe's files are made for.
    """
    if not target.builds_engines:
        int8_flavour = cpu_runtime(target.runtime).int8_flavour
        own = {} if target.precision == "fp32" else {target.precision: int8_flavour(identity, gated)}
        return {**own, "fp32": "fp32"}
    known = identity.get("tensorrt")
    if known is None:
        fix = "install TensorRT there (on a Jetson: sudo apt install tensorrt), then: edgekd doctor"
        raise EnvironmentProblem("the device has no TensorRT", where=target.name, seen=target.profile.name, fix=fix)
    major, minor, *_ = parse_version(known)
    if target.tensorrt is not None and (major, minor) < version_of(target.tensorrt):
        fix = f'tensorrt: "{major}.{minor}" in the recipe, which may need another opset, or a newer JetPack'
        what = f"the device's TensorRT is older than {target.tensorrt}, which the recipe's files are made for"
        raise DeviceError(what, where=target.name, seen=known, fix=fix)
    return built_for((major, minor), target.precision)
