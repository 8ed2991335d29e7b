"""Pickles of plain data, read without being run: CIFAR is published as such, and unpickling a file runs whatever it names.

A pickle is a program for a small stack machine. Here its instructions are only taken as far as they build dicts, lists, tuples,
text, bytes, numbers and arrays of uint8, which is what protocol 2 of the files in question does; any other is refused. Its memo
gives back nothing that is long or holds anything, so that what a file makes is a tree no larger than the file allows.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import InputError, IntegrityError
from edgekd.core.files import disk_problems

_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")  # numpy before and from 2
_ARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_UINT8 = object()  # the only dtype there is
_SEEN = 160  # characters of a broken program that a message shows
_SHORT = 255  # characters; names and words may be used twice, images are not


class _Unsafe(Exception):
    pass


class _Array:
    """An array that the program has announced and not yet filled."""

    values: NDArray[np.uint8]

    def fill(self, state: tuple[Any, ...]) -> None:
        """state: version, shape, dtype, whether columns come first, the bytes."""
        _, shape, dtype, fortran, content = state
        if dtype is not _UINT8:
            raise _Unsafe("an array of something else than uint8")
        flat = np.frombuffer(content.encode("latin-1") if isinstance(content, str) else content, np.uint8)
        self.values = flat.reshape(shape, order="F" if fortran else "C")


def read(path: Path) -> dict[str, Any]:
    """The dict that a pickle holds: arrays are uint8, read-only; what Python 2 wrote as str is text, a character a byte.

    Raises IntegrityError: it names something to be called or made that plain data does not need. InputError: no whole pickle of a
    dict, or no such file.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), fix="extract the archive again")
    with disk_problems(path):
        content = path.read_bytes()
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            machine.take(opcode.name, argument)
        found = machine.result()
        return {key: value.values if isinstance(value, _Array) else value for key, value in found.items()}
    except _Unsafe as error:
        what = "refused: the pickle holds more than plain data and could run code"
        raise IntegrityError(what, where=str(path), seen=str(error)[:_SEEN], fix="use the file as it was published") from error
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
    ) as error:  # what a broken program makes of the stack
        seen = " ".join(str(error).split())[:_SEEN]
        raise InputError(
            "the file is damaged or no pickle of a dict", where=str(path), seen=seen, fix="extract the archive again"
        ) from error


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []  # heights of the stack
        self._memo: dict[int, Any] = {}

    def result(self) -> dict[str, Any]:
        (found,) = self._stack
        if not isinstance(found, dict):
            raise TypeError(f"holds a {type(found).__name__}")
        return found

    def take(self, instruction: str, argument: Any) -> None:
        stack = self._stack
        match instruction:
            case "BININT" | "BININT1" | "BININT2" | "BINFLOAT":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING" | "BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._again(argument))
            case "MARK":
                self._marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._last(int(instruction[-1]))))
            case "APPEND":
                self._extend(self._last(1))
            case "APPENDS":
                self._extend(self._since_mark())
            case "SETITEM":
                self._set(self._last(2))
            case "SETITEMS":
                self._set(self._since_mark())
            case "GLOBAL":
                if argument not in (*_RECONSTRUCT, _ARRAY, _DTYPE):
                    raise _Unsafe(argument)
                stack.append(_Name(argument))
            case "REDUCE":
                function, arguments = self._last(2)
                stack.append(_called(function, arguments))
            case "BUILD":
                made, state = self._last(2)
                if isinstance(made, _Array):
                    made.fill(state)
                elif made is not _UINT8:
                    raise _Unsafe("an object with a state of its own")
                stack.append(made)
            case "PROTO" | "STOP":
                pass
            case _:
                raise _Unsafe(f"the instruction {instruction}")

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise LookupError("an instruction without its operands")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        height = self._marks.pop()
        taken = self._stack[height:]
        del self._stack[height:]
        return taken

    def _again(self, number: int) -> object:
        found = self._memo[number]
        if found is _UINT8 or (isinstance(found, str | bytes) and len(found) <= _SHORT):
            return found
        raise ValueError(f"a {type(found).__name__} used twice")

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError("items for what is no list")
        self._stack[-1].extend(values)

    def _set(self, pairs: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict):
            raise TypeError("entries for what is no dict")
        if not all(isinstance(key, str) for key in pairs[::2]):
            raise TypeError("entries whose keys are no text")
        self._stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


class _Name(str):
    """Something of numpy that the program may name; it is never looked up."""


def _called(function: object, arguments: Any) -> object:
    if isinstance(function, _Name) and isinstance(arguments, tuple):
        if function in _RECONSTRUCT and isinstance(arguments[0], _Name) and arguments[0] == _ARRAY:
            return _Array()
        if function == _DTYPE and arguments[0] == "u1":
            return _UINT8
    raise _Unsafe(f"{function if isinstance(function, str) else type(function).__name__} called")
