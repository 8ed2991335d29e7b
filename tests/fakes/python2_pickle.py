"""A dict as cPickle of Python 2 writes it in protocol 2, as in CIFAR's python version; today's pickle writes text otherwise."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np


def python2_pickle(document: Mapping[str, Any]) -> bytes:
    """document: text, whole numbers, lists of them, and arrays of uint8 by key."""
    memo = iter(range(1, 1 << 16))
    entries = b"".join(_text(key, memo) + _value(value, memo) for key, value in document.items())
    return b"\x80\x02}" + _put(memo) + b"(" + entries + b"u."


def _put(memo) -> bytes:
    number = next(memo)
    return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)


def _value(value: Any, memo) -> bytes:
    match value:
        case str():
            return _text(value, memo)
        case int():
            return _number(value)
        case list():
            return b"]" + _put(memo) + b"(" + b"".join(_value(one, memo) for one in value) + b"e"
        case np.ndarray():
            return _array(value, memo)
    raise TypeError(type(value))


def _text(value: str, memo) -> bytes:
    return _string(value.encode()) + _put(memo)


def _string(content: bytes) -> bytes:
    return b"U" + bytes([len(content)]) + content if len(content) < 256 else b"T" + struct.pack("<i", len(content)) + content


def _number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)


def _array(value: np.ndarray, memo) -> bytes:
    assert value.dtype == np.uint8 and value.ndim == 2
    made = b"cnumpy.core.multiarray\n_reconstruct\n" + _put(memo) + b"cnumpy\nndarray\n" + _put(memo)
    made += b"K\x00\x85" + _put(memo) + b"U\x01b\x87" + _put(memo) + b"R" + _put(memo)
    made += b"(K\x01" + b"".join(map(_number, value.shape)) + b"\x86" + _put(memo)
    made += b"cnumpy\ndtype\n" + _put(memo) + b"U\x02u1K\x00K\x01\x87" + _put(memo) + b"R" + _put(memo)
    made += b"(K\x03U\x01|NNN" + _number(-1) * 2 + b"K\x00t" + _put(memo) + b"b"
    return made + b"\x89" + _string(value.tobytes()) + _put(memo) + b"t" + _put(memo) + b"b"
