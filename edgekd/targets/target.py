"""Target: a device as a recipe uses it; device + runtime + precision + required or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgekd.core import InputError
from edgekd.targets.profiles import Profile, profile
from edgekd.targets.tensorrt.versions import OLDEST, version_of

_TENSORRT = ("fp32", "fp16", "int8", "int8+fp16")
_CPU = ("fp32", "int8")  # CPU kernels compute in one of these; an fp16 model would be computed in float32


class TargetSpec(Protocol):
    """What a recipe says about one target (``edgekd.recipe.TargetSpec`` is one)."""

    @property
    def device(self) -> str: ...
    @property
    def runtime(self) -> str: ...
    @property
    def precision(self) -> str | None: ...
    @property
    def required(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def tensorrt(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def python(self) -> str: ...
    @property
    def clocks(self) -> str: ...


@dataclass(frozen=True)
class Target:
    """name: the recipe's word for it. required: "always" or "when-connected". threads: of one query on a CPU. python: the
    interpreter there. clocks: "as-is", or "lock" while it is timed. tensorrt: the oldest its files are made for. Where it is: see
    ``Reach``."""

    name: str
    profile: Profile
    runtime: str
    precision: str
    required: str
    threads: int
    python: str = "python3"
    clocks: str = "as-is"
    tensorrt: str | None = None

    @property
    def builds_engines(self) -> bool:
        """Whether what runs is built on the device, and is another file than the ONNX it is built from."""
        return self.runtime == "tensorrt"

    @property
    def runs_as_written(self) -> bool:
        """Whether it can run every node of the ONNX file as written, the reference for parity."""
        return self.runtime == "onnxruntime"


def precision_of(spec: TargetSpec) -> str:
    """What a target computes in: as the recipe says, else int8, else fp16 where the device has no int8 units."""
    if spec.precision is not None:
        return spec.precision
    return "int8" if spec.runtime != "tensorrt" or profile(spec.device).int8_native else "fp16"


def why_float(spec: TargetSpec) -> str | None:
    """Why a target that was not told its precision does not compute in int8; None where it does, or was told."""
    if spec.precision is not None or precision_of(spec) == "int8":
        return None
    return f"{profile(spec.device).name} has no int8 units, and int8 would be no faster there: it gets fp16"


def resolve(name: str, spec: TargetSpec) -> Target:
    """The target ``name`` of a recipe. Raises InputError: unknown device, or a runtime, precision or TensorRT it cannot have."""
    where = f"targets.{name}"
    try:
        device = profile(spec.device)
    except InputError as error:
        raise InputError(error.what, where=f"{where}.device", seen=error.seen, fix=error.fix) from error
    runtime = spec.runtime if spec.runtime == "tensorrt" else "onnxruntime"  # a CPU that runs this runs any that opens such files
    if runtime not in device.runtimes:
        raise InputError(
            f"{device.name} does not run {spec.runtime}",
            where=f"{where}.runtime",
            seen=spec.runtime,
            fix=f"runtime: {' or '.join(device.runtimes)}",
        )
    precision = precision_of(spec)
    able = [
        one
        for one in (_TENSORRT if spec.runtime == "tensorrt" else _CPU)
        if all(part in device.precisions for part in one.split("+"))
    ]
    if precision not in able:
        why = f"{device.name} has no int8 units" if "int8" in precision and not device.int8_native else "not supported"
        raise InputError(
            f"{spec.runtime} on {device.name} cannot run {precision}: {why}",
            where=f"{where}.precision",
            seen=precision,
            fix=f"precision: {' or '.join(able)}",
        )
    if spec.tensorrt and version_of(spec.tensorrt) < OLDEST:
        fix = f'"{OLDEST[0]}.{OLDEST[1]}" or newer; JetPack 4.6.1 brings it'
        raise InputError("this TensorRT is too old", where=f"{where}.tensorrt", seen=spec.tensorrt, fix=fix)
    if spec.tensorrt and not tensorrt_versions(spec):
        what = f"no JetPack of {device.name} has this TensorRT or a newer one"
        fix = f"leave it out, or one of {', '.join(_versions_of(device))}"
        raise InputError(what, where=f"{where}.tensorrt", seen=spec.tensorrt, fix=fix)
    how = (spec.python, spec.clocks, spec.tensorrt)
    return Target(name, device, spec.runtime, precision, spec.required, spec.threads, *how)


def tensorrt_versions(spec: TargetSpec) -> tuple[str, ...]:
    """The versions of TensorRT a target may have, oldest first: those of its device's JetPacks from ``spec.tensorrt`` on."""
    oldest = version_of(spec.tensorrt) if spec.tensorrt else OLDEST
    return tuple(one for one in _versions_of(profile(spec.device)) if version_of(one) >= oldest)


def _versions_of(device: Profile) -> tuple[str, ...]:
    return tuple(one for one in dict.fromkeys(device.tensorrt.values()) if version_of(one) >= OLDEST)
