"""The engines to build on a TensorRT device: of which file, by which command, for every version of TensorRT its JetPacks have.

An engine runs on the device, and with the TensorRT, that built it: so files and commands travel, and engines do not.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.targets.profiles import Profile, profile
from edgekd.targets.target import TargetSpec, precision_of, tensorrt_versions
from edgekd.targets.tensorrt.flags import build_flags, flavour_to_build, workspace_mib
from edgekd.targets.tensorrt.versions import Version, version_of

FILES = ("trt", "fp16", "trt-fp16", "fp32-b1")  # every flavour an engine may be built from
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"  # of every JetPack, and on no PATH there
# The target's own precision first, then what it is compared with.
_BUILT = {
    "fp32": ("fp32",),
    "fp16": ("fp16", "fp32"),
    "int8": ("int8", "fp16", "fp32"),
    "int8+fp16": ("int8+fp16", "fp16", "fp32"),
}


@dataclass(frozen=True)
class Engine:
    """tensorrt: its version; jetpacks: the releases that bring it. command: words, run in the folder of the files."""

    tensorrt: str
    jetpacks: tuple[str, ...]
    precision: str
    model: str
    command: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "jetpacks": list(self.jetpacks), "command": list(self.command)}


def engines(spec: TargetSpec, overflow: str | None = None) -> tuple[Engine, ...]:
    """By version, oldest first; for each the precision asked for, then the yardsticks.

    overflow: why float16 is none of these, for a network whose values it cannot hold.
    """
    device = profile(spec.device)
    built = [one for one in _BUILT[precision_of(spec)] if overflow is None or one != "fp16"]
    return tuple(_engine(device, version, one) for version in tensorrt_versions(spec) for one in built)


def built_for(version: Version, precision: str) -> dict[str, str]:
    """{precision: the ONNX flavour its engine is built from} for one version: the one asked for, then the yardsticks."""
    return {one: flavour_to_build(version, one) for one in _BUILT[precision]}


def files_of(spec: TargetSpec, overflow: str | None = None) -> tuple[str, ...]:
    """The flavours a TensorRT target's engines are built from, its own before the yardsticks. overflow: as for ``engines``."""
    models = {engine.model for engine in engines(spec, overflow)}
    return tuple(flavour for flavour in FILES if _file(flavour) in models)


def commands_text(name: str, spec: TargetSpec, overflow: str | None = None, built: str | None = None) -> str:
    """What to do on the device, for a person: the files, then the command lines by version. overflow: as for ``engines``.

    built: the engine that was built and measured there already, as a path the reader has; these are to build it again.
    """
    return "\n".join(_lines(name, spec, overflow, built)) + "\n"


def _engine(device: Profile, text: str, precision: str) -> Engine:
    version = version_of(text)
    model = _file(flavour_to_build(version, precision))
    built = f"student.{precision.replace('+', '-')}.engine"
    files = [f"--onnx={model}", f"--saveEngine={built}", "--timingCacheFile=student.timing"]
    flags = build_flags(version, precision, workspace_mib(device.memory_gib))
    releases = tuple(release for release, one in device.tensorrt.items() if one == text)
    return Engine(text, releases, precision, model, (TRTEXEC, *files, *flags))


def _file(flavour: str) -> str:
    return f"student.{flavour}.onnx"


def _lines(name: str, spec: TargetSpec, overflow: str | None, built: str | None) -> Iterator[str]:
    done = f"{built} was built and measured on it; this builds it again." if built else "Nothing was built or measured on it."
    yield f"Engines for {name}: {profile(spec.device).name}, {precision_of(spec)}. {done}"
    yield ""
    yield "Copy to the device: " + ", ".join(map(_file, files_of(spec, overflow)))
    if overflow:
        yield f"No fp16 engine to compare with: the network overflows float16 ({overflow})."
    yield "Find its TensorRT:  dpkg-query -W -f='${Version}' libnvinfer-bin"
    yield "Then, in the folder of the files and with clocks locked (sudo jetson_clocks), the lines of that version. An engine"
    yield "runs only on the device and with the TensorRT that built it; it is built if the process ends with 0 and prints PASSED."
    version = None
    for engine in engines(spec, overflow):
        if engine.tensorrt != version:
            version = engine.tensorrt
            yield ""
            yield f"TensorRT {version}" + (f" (JetPack {', '.join(engine.jetpacks)})" if engine.jetpacks else "")
        yield "  " + shlex.join(engine.command)
