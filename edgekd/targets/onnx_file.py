"""What an ONNX file takes and holds, read from its own bytes: without the onnx package, and whatever its operators.

An ONNX file is one protobuf message. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekd.core import InputError

_GRAPH, _NODE, _WEIGHT, _INPUT, _OUTPUT, _BETWEEN = 7, 1, 5, 11, 12, 13  # of the model; of its graph
_OP, _VALUE_NAME, _VALUE_TYPE, _TENSOR, _ELEMENT, _SHAPE, _DIM = 4, 1, 2, 1, 1, 2, 1
_DIM_VALUE, _DIM_NAME, _WEIGHT_TYPE, _WEIGHT_NAME, _WEIGHT_PLACE = 1, 2, 2, 8, 14
_ONE = bytes([_DIM_VALUE << 3, 1])  # a dimension of 1
_FLOAT, _HALF, _EXTERNAL = 1, 10, 1
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 8: "string", 9: "bool", 10: "float16", 11: "float64"}
_MOST_BYTES = 1 << 31  # of a protobuf message
_FIX = "export the network with one float32 input [N, channels, height, width]; N may be free"


@dataclass(frozen=True)
class OnnxFile:
    """path: the file. input: its only input's name. shape: [N, C, H, W] of it, N None where it is free.

    quantized: it holds QuantizeLinear, so int8 comes with the file. half: it holds float16 weights.
    """

    path: Path
    input: str
    shape: tuple[int | None, int, int, int]
    quantized: bool
    half: bool

    @property
    def one_query(self) -> tuple[int, int, int, int]:
        """The shape of one query: a free batch is one image."""
        batch, *rest = self.shape
        return (batch or 1, *rest)  # type: ignore[return-value]  # three numbers, as in shape


def read_onnx(path: Path) -> OnnxFile:
    """Raises InputError: no such file, not ONNX, weights in other files, or other inputs than one float32 image batch."""
    where = str(path)
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise InputError("this is not an ONNX file", where=where, seen="a device or pipe", fix="name an ONNX file")
        if path.is_file() and path.stat().st_size > _MOST_BYTES:  # read, it would take this machine's memory
            seen = f"{path.stat().st_size:,} bytes, and ONNX allows 2 GiB"
            raise InputError("this is not an ONNX file", where=where, seen=seen, fix="name an ONNX file")
        content = path.read_bytes()
    except OSError as error:
        raise InputError("the model cannot be read", where=where, seen=error.strerror, fix="name an ONNX file") from error
    try:
        graph = _only(content, _GRAPH)
        if not graph:
            raise ValueError("it holds no network")
        weights = [dict(_fields(one)) for one in _each(graph, _WEIGHT)]
        operators = {_text(_only(node, _OP)) for node in _each(graph, _NODE)}
        held = {_text(one[_WEIGHT_NAME]) for one in weights if _WEIGHT_NAME in one}
        inputs = [one for one in _each(graph, _INPUT) if _text(_only(one, _VALUE_NAME)) not in held]
        name, element, shape = _value(inputs[0]) if inputs else ("", 0, [])
    except (ValueError, TypeError) as error:
        raise InputError("this is not an ONNX file", where=where, seen=str(error), fix="name an ONNX file") from error
    if any(one.get(_WEIGHT_PLACE) == _EXTERNAL for one in weights):
        fix = "save it with its weights inside (onnx.save with save_as_external_data=False)"
        raise InputError("the model's weights lie in another file", where=where, fix=fix)
    if len(inputs) != 1:
        names = ", ".join(_text(_only(one, _VALUE_NAME)) for one in inputs) or "none"
        raise InputError(f"the model has {len(inputs)} inputs, and one is timed here", where=where, seen=names, fix=_FIX)
    seen = f"{name}: {_TYPES.get(element, f'type {element}')} [{', '.join('free' if one is None else str(one) for one in shape)}]"
    if element != _FLOAT or len(shape) != 4:
        raise InputError("the model's input is not float32 with four dimensions", where=where, seen=seen, fix=_FIX)
    batch, *image = shape
    if None in image:
        fix = "export it with a fixed height and width: those are what a latency is of"
        raise InputError("the size of the model's input is free", where=where, seen=seen, fix=fix)
    quantized = "QuantizeLinear" in operators
    return OnnxFile(path, name, (batch, *image), quantized, any(one.get(_WEIGHT_TYPE) == _HALF for one in weights))  # type: ignore[arg-type]


def with_one_image(model: OnnxFile) -> bytes:
    """The file's bytes with a batch of one where it is free: of a free one TensorRT makes another kind of engine."""
    content = model.path.read_bytes()
    if model.shape[0] is not None:
        return content
    values = [one for one in _each(_only(content, _GRAPH), _INPUT) if _text(_only(one, _VALUE_NAME)) == model.input]
    batch = _only(_only(_only(_only(_only(values[0], _VALUE_TYPE), _TENSOR), _SHAPE), _DIM, first=True), _DIM_NAME)

    def dimension(here: bytes) -> bytes:
        return _ONE if batch and _only(here, _DIM_NAME) == batch else here

    def value(here: bytes) -> bytes:
        here = _changed(here, [_VALUE_TYPE, _TENSOR, _SHAPE, _DIM], dimension)  # by its name it stands in the outputs too
        own = _text(_only(here, _VALUE_NAME)) == model.input
        return _changed(here, [_VALUE_TYPE, _TENSOR, _SHAPE], _first_is_one) if own else here

    for kind in (_INPUT, _OUTPUT, _BETWEEN):
        content = _changed(content, [_GRAPH, kind], value)
    return content


def _first_is_one(shape: bytes) -> bytes:
    """By its place, where it has no name."""
    dimensions = iter([_ONE])
    return _changed(shape, [_DIM], lambda here: next(dimensions, here))


def _value(value: bytes) -> tuple[str, int, list[int | None]]:
    """(name, element type, shape) of a ValueInfoProto; a dimension that is free, or not told, is None."""
    tensor = _only(_only(value, _VALUE_TYPE), _TENSOR)
    shape = [dict(_fields(one)).get(_DIM_VALUE) for one in _each(_only(tensor, _SHAPE), _DIM)]
    element = dict(_fields(tensor)).get(_ELEMENT)
    known = [one if isinstance(one, int) and one > 0 else None for one in shape]
    return _text(_only(value, _VALUE_NAME)), element if isinstance(element, int) else 0, known


def _changed(message: bytes, path: list[int], change: Callable[[bytes], bytes]) -> bytes:
    """The message with ``change`` applied to every part at ``path``, field by field."""
    field, *below = path
    made = []
    for number, value, start, end in _spans(message):
        if number == field and isinstance(value, bytes):
            value = _changed(value, below, change) if below else change(value)
            made.append(_varint(field << 3 | 2) + _varint(len(value)) + value)
        else:
            made.append(message[start:end])
    return b"".join(made)


def _each(message: bytes, field: int) -> list[bytes]:
    return [value for number, value in _fields(message) if number == field and isinstance(value, bytes)]


def _only(message: bytes, field: int, *, first: bool = False) -> bytes:
    """The field's bytes, the last ones if it stands there twice; none if it is not there."""
    return (_each(message, field) or [b""])[0 if first else -1]


def _text(value: bytes | int) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    return ((number, value) for number, value, _, _ in _spans(message))


def _spans(message: bytes) -> Iterator[tuple[int, bytes | int, int, int]]:
    """(field, its value, where it begins and ends) one after the other. Raises ValueError: no protobuf, or cut short."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read(message, at)
        kind = tag & 7
        if kind == 0:
            value: bytes | int
            value, at = _read(message, at)
        elif kind in (1, 2, 5):
            size, at = _read(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise ValueError("it is cut short")
        else:
            raise ValueError(f"unknown wire type {kind}")
        yield tag >> 3, value, start, at


def _read(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it is cut short")
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
