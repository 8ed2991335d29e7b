"""The first bytes of an engine: enough for a kind word before a runtime is asked to load it.

Public through trtexec's --getPlanVersionOnly (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion): bytes 0 to 3
say "ftrt", 4 to 7 the layout (0), 24 to 27 major, minor, patch and build of the TensorRT that made it. The rest is private.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.core import DeviceError

HEADER_BYTES = 28
_MAGIC = b"ftrt"
_REBUILD = "build it again, on the device and with the TensorRT it is to run with"


@dataclass(frozen=True)
class PlanHeader:
    """tensorrt: (10, 3, 0, 30), None where the bytes do not tell (engines of TensorRT 8 promise nothing there)."""

    tensorrt: tuple[int, ...] | None


def plan_header(head: bytes, where: str, *, size: int | None = None, expected_size: int | None = None) -> PlanHeader:
    """Read the first ``HEADER_BYTES`` of an engine. size: of the whole file, expected_size: what it should have.

    Raises DeviceError: no engine, an empty or a cut one.
    """
    if not head:
        raise DeviceError(
            "there is no engine, or an empty file", where=where, seen="0 bytes", fix=f"is the disk full? {_REBUILD}"
        )
    if not head.startswith(_MAGIC):
        raise DeviceError("this is no TensorRT engine", where=where, seen=f"begins with {head[:8]!r}", fix=_REBUILD)
    if len(head) < HEADER_BYTES:
        raise DeviceError("the engine's file is cut short", where=where, seen=f"{len(head)} bytes", fix=_REBUILD)
    if None not in (size, expected_size) and size != expected_size:
        seen = f"{size} bytes of {expected_size}"
        raise DeviceError("the engine's file is cut short", where=where, seen=seen, fix=f"is the disk full? {_REBUILD}")
    told = head[4:8] == b"\0\0\0\0" and head[24] >= 10
    return PlanHeader(tuple(head[24:28]) if told else None)


def check_version(header: PlanHeader, tensorrt: tuple[int, ...], where: str) -> None:
    """Whether TensorRT ``tensorrt``, of as many numbers as are known, can load this engine: major, minor and patch must be those
    that built it. Raises DeviceError if the engine says that another one did."""
    here = tensorrt[:3]
    if here < (10,):
        return  # what stands there in an engine of its own is not promised, and may look like a version
    if header.tensorrt is not None and header.tensorrt[: len(here)] != here:
        built, ours = (".".join(map(str, version)) for version in (header.tensorrt, tensorrt))
        what = f"the engine was built by TensorRT {built}; this is {ours}"
        raise DeviceError(what, where=where, seen=built, fix=_REBUILD)
