"""What an engine file says of itself before anything is loaded: that it is one, and which TensorRT built it.

Public through trtexec's --getPlanVersionOnly (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion): bytes 0 to 3
are "ftrt", 4 to 7 the layout (0), 24 to 27 TensorRT's major, minor, patch and build, promised from 10.0 on. The rest is private.
"""

import os
from typing import Optional, Tuple, Union

from .problem import Problem

SIZE = 28
_MAGIC = b"ftrt"
_REBUILD = "build it again, on the device and with the TensorRT it is to run with"


def head(path: "Union[str, os.PathLike[str]]") -> bytes:
    """The first bytes of the engine ``path``. Raises Problem "device": it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(SIZE)
    except OSError as error:
        raise Problem("device", "the engine cannot be read: %s" % error.strerror, where=str(path))


def built_by(header: bytes, where: str) -> Optional[Tuple[int, ...]]:
    """TensorRT's version, (major, minor, patch, build), that built an engine with this head; None where it does not tell.

    Raises Problem "device": no engine, an empty or a cut one.
    """
    if not header:
        fix = "is the disk full? " + _REBUILD
        raise Problem("device", "there is no engine, or an empty file", where, "0 bytes", fix)
    if not header.startswith(_MAGIC):
        raise Problem("device", "this is no TensorRT engine", where, "begins with %r" % header[:8], _REBUILD)
    if len(header) < SIZE:
        raise Problem("device", "the engine's file is cut short", where, "%d bytes" % len(header), _REBUILD)
    return tuple(header[24:SIZE]) if header[4:8] == b"\0\0\0\0" and header[24] >= 10 else None


def check(path: str, running: Tuple[int, ...]) -> None:
    """Raise Problem "device" where the engine ``path`` is of another TensorRT than ``running``, of as many numbers as are known:
    major, minor and patch must be those that built it."""
    built, here = built_by(head(path), str(path)), tuple(running[:3])
    promised = here >= (10,)  # what stands there in an engine of TensorRT 8 is private, and may look like a version
    if promised and built is not None and built[: len(here)] != here:
        seen = "built by %s, here is %s" % (_text(built[:3]), _text(here))
        raise Problem("device", "the engine is of another version of TensorRT", str(path), seen, _REBUILD)


def _text(version):
    return ".".join(str(number) for number in version)
