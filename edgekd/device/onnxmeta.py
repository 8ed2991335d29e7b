"""Read the metadata of an ONNX file without the onnx package, which no device has.

An ONNX file is one protobuf message, ModelProto (onnx.proto3): field 14 holds metadata_props, each with key 1 and value 2.
Other fields are skipped, the graph by seeking over it, so that a large model costs nothing.
"""

import io
import os
from typing import Any, Dict

from .problem import Problem

_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MOST_BYTES = 1 << 20  # of one metadata entry


def read_metadata(path: Any) -> Dict[str, str]:
    """{key: value} of the model's metadata_props. Raises Problem "input" when the file is missing or not protobuf."""
    try:
        with open(path, "rb") as file:
            return _metadata(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise Problem("input", "cannot read the model: %s" % error.strerror, where=str(path))
    except ValueError as error:
        raise Problem("input", "not an ONNX file: %s" % error, where=str(path))


def _metadata(file, size):
    found = {}
    for field, payload in _fields(file, size):
        if field == _METADATA_PROPS:
            entry = dict(_fields_of(payload()))
            found[entry.get(_KEY, b"").decode("utf-8", "replace")] = entry.get(_VALUE, b"").decode("utf-8", "replace")
    return found


def _fields_of(content):
    return [(field, payload()) for field, payload in _fields(io.BytesIO(content), len(content))]


def _fields(file, end):
    """Yield (field number, function that reads the bytes) for each length-delimited field; skip the others."""
    while file.tell() < end:
        tag = _varint(file)
        kind = tag & 7
        if kind == _VARINT:
            _varint(file)
        elif kind in (_FIXED64, _FIXED32):
            file.seek(8 if kind == _FIXED64 else 4, os.SEEK_CUR)
        elif kind == _LENGTH:
            length = _varint(file)
            start = file.tell()
            if start + length > end:
                raise ValueError("a field of %d bytes reaches past the end" % length)
            yield tag >> 3, lambda: _payload(file, start, length)  # noqa: B023  read before the next turn of the loop
            file.seek(start + length)
        else:
            raise ValueError("unknown wire type %d" % kind)
    if file.tell() != end:
        raise ValueError("it is cut short")


def _payload(file, start, length):
    if length > _MOST_BYTES:
        raise ValueError("a metadata entry of %d bytes" % length)
    file.seek(start)
    return file.read(length)


def _varint(file):
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it is cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than ten bytes")
