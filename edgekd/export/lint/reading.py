"""An ONNX file of unknown origin, read as far as its own bytes go."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from edgekd.core import InputError
from edgekd.export.lint.leaks import words

_MOST_BYTES = 1 << 31  # of a protobuf message
_FIX = "name an ONNX file"


def read_model(path: Path) -> ModelProto:
    """The model; weights in other files stay there, unread. Raises InputError: no such file, too large for ONNX, or none."""
    where, not_onnx = str(path), "this is not an ONNX file"
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise InputError(not_onnx, where=where, seen="a device or pipe", fix=_FIX)
        if path.is_file() and path.stat().st_size >= _MOST_BYTES:
            seen = f"{path.stat().st_size:,} bytes, and ONNX allows 2 GiB"
            raise InputError(not_onnx, where=where, seen=seen, fix="save the weights of so large a model in other files")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        seen = getattr(error, "strerror", None) or str(error)
        raise InputError("the model cannot be read", where=where, seen=seen, fix=_FIX) from error
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise InputError(not_onnx, where=where, seen="it is no protobuf message, or cut short", fix=_FIX) from error
    if any(isinstance(word, bytes) for word in words(model)):
        raise InputError(not_onnx, where=where, seen="a name in it is no UTF-8", fix=_FIX)
    if not model.graph.node:
        raise InputError(not_onnx, where=where, seen="it holds no network", fix=_FIX)
    return model
