"""What an engine computed, as trtexec hands it out: decimals in JSON, or from 8.6 on the bytes of each binding in a file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgekd.core import DeviceError
from edgekd.targets.tensorrt.exported import array_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIX = "is the device's disk full? Run the same command again"
_RAW_NAME = re.compile(r"(?P<name>.+)\.(?P<way>input|output)\.(?P<dims>\d+(?:\.\d+)*)\.(?P<dtype>[a-z]+\d+)\.raw")
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


class RawName(NamedTuple):
    """Of a raw file, such as "logits.output.1.1000.fp32.raw". name: the binding's, odd letters made underscores."""

    name: str
    is_output: bool
    dims: tuple[int, ...]
    dtype: str


def raw_name(file: str) -> RawName | None:
    """What the name of a raw file says; None for any other file."""
    found = _RAW_NAME.fullmatch(file)
    if found is None:
        return None
    return RawName(found["name"], found["way"] == "output", tuple(map(int, found["dims"].split("."))), found["dtype"])


def read_output(text: str | None, raw: Mapping[str, bytes], where: str) -> NDArray[np.float32]:
    """The one output of one query: of its raw file (by file name) if there is one, else of the exported JSON.

    Raises DeviceError: none or several outputs, and as ``read_raw`` and ``read_exported``.
    """
    outputs = [(one, content) for file, content in raw.items() if (one := raw_name(file)) and one.is_output]
    if len(outputs) == 1:
        ((told, content),) = outputs
        return read_raw(content, told.dims, told.dtype, where)
    exported = read_exported(text or "", where) if not outputs else {}
    if len(exported) == 1:
        return next(iter(exported.values()))
    seen = ", ".join([one.name for one, _ in outputs] or exported)
    raise DeviceError("the engine has several outputs", where=where, seen=seen, fix="a classifier has one: its logits")


def read_raw(content: bytes, dims: Sequence[int], dtype: str, where: str) -> NDArray[np.float32]:
    """float32 of shape ``dims`` from the little-endian bytes of a binding of dtype fp32, fp16 or bf16.

    Raises DeviceError: another size, another type, values that are not finite.
    """
    import numpy as np

    if dtype not in _BYTES:
        raise DeviceError(
            "the engine's output is no floating-point tensor", where=where, seen=dtype, fix="export logits in float"
        )
    expected = math.prod(dims) * _BYTES[dtype]
    if len(content) != expected:
        seen = f"{len(content)} bytes, not {expected} for {'x'.join(map(str, dims))} {dtype}"
        raise DeviceError("the engine's output has another size than it says", where=where, seen=seen, fix=_FIX)
    if dtype == "bf16":  # the upper half of a float32
        values = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(content, "<f4" if dtype == "fp32" else "<f2").astype(np.float32)
    return finite(values.reshape(tuple(dims)), where)


def read_exported(text: str, where: str) -> dict[str, NDArray[np.float32]]:
    """float32 by output of --exportOutput, in the engine's order; of the last query only, and of six digits only.

    Raises DeviceError: a missing or cut file, another number of values than the dimensions say, values that are not finite.
    """
    outputs = {}
    for record in array_of(text, "outputs", where, _FIX):
        name, told, values = (record.get(key) if isinstance(record, dict) else None for key in ("name", "dimensions", "values"))
        if not isinstance(name, str) or not isinstance(told, str) or not isinstance(values, list):
            raise DeviceError("an output without name, dimensions or values", where=where, seen=str(record)[:200], fix=_FIX)
        outputs[name] = _tensor(told, values, f"{where} {name}")
    if not outputs:
        raise DeviceError("trtexec exported no output", where=where, seen=text[:200], fix=_FIX)
    return outputs


def _tensor(told: str, values: list[object], where: str) -> NDArray[np.float32]:
    import numpy as np

    if not re.fullmatch(r"\d{1,9}(?:x\d{1,9}){0,7}", told):
        raise DeviceError("an output without fixed dimensions", where=where, seen=repr(told[:200]), fix=_FIX)
    dims = tuple(map(int, told.split("x")))
    if math.prod(dims) != len(values):
        seen = f"{len(values)} values for {told}"
        raise DeviceError("the engine's output has another size than it says", where=where, seen=seen, fix=_FIX)
    odd = next((value for value in values if isinstance(value, bool) or not isinstance(value, int | float)), None)
    if odd is not None or any(isinstance(value, int) and abs(value) > 1e38 for value in values):
        raise DeviceError("the engine's output holds what is no number", where=where, seen=repr(odd)[:200], fix=_FIX)
    with np.errstate(over="ignore"):  # beyond float32: told by finite
        return finite(np.array(values, np.float64).astype(np.float32).reshape(dims), where)


def finite(values: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    """The same values. Raises DeviceError: some are nan or inf, of which argmax would make a class."""
    import numpy as np

    if not np.isfinite(values).all():
        seen = f"{int((~np.isfinite(values)).sum())} of {values.size} values are nan or inf"
        raise DeviceError(
            "the engine's output is not finite", where=where, seen=seen, fix="does fp16 overflow? Try precision: fp32"
        )
    return values
