"""What an engine file says of itself before anything is loaded: that it is one, and which TensorRT built it.

Bytes 0-3 are "ftrt", 4-7 the version of the serialization, 24-27 TensorRT's major, minor, patch and build, promised from 10.0 on
(trtexec --getPlanVersionOnly reads them there). The rest is private.
"""

import struct
from typing import Tuple

from .problem import Problem

SIZE = 28
_MAGIC = b"ftrt"


def built_by(path):
    """TensorRT's version, (major, minor, patch, build), that built the engine ``path``; None where the file does not tell.

    Raises Problem "device": not an engine, or cut short.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(SIZE)
    except OSError as error:
        raise Problem("device", "the engine cannot be read: %s" % error.strerror, where=str(path))
    if len(header) < SIZE or header[:4] != _MAGIC:
        raise Problem("device", "not an engine, or one that was cut short", str(path), repr(header[:8]), "build it again")
    version = tuple(header[24:28])
    (serialization,) = struct.unpack("<I", header[4:8])
    return version if serialization == 0 and version[0] >= 10 else None


def check(path: str, running: Tuple[int, ...]) -> None:
    """Raise Problem "device" where the engine ``path`` is of another TensorRT than ``running``, (major, minor, patch, ...)."""
    version = built_by(path)
    promised = running[0] >= 10  # what stands there in an engine of TensorRT 8 is private, and may look like a version
    if promised and version is not None and version[:3] != tuple(running[:3]):
        seen = "built by %s, here is %s" % (_text(version[:3]), _text(running[:3]))
        fix = "build it again: an engine runs only with the TensorRT that built it"
        raise Problem("device", "the engine is of another version of TensorRT", str(path), seen, fix)


def _text(version):
    return ".".join(str(number) for number in version)
