"""The JSON files trtexec exports: written by hand, so with bare nan, unescaped characters, and cut where a disk was full."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from edgekd.core import DeviceError

_SHOWN = 120


def json_of(text: str, what: str, where: str, fix: str) -> Any:
    """The value of an exported file of ``what``. Raises DeviceError, with the raw text around the place: not JSON, nan, inf."""
    if not text.strip():
        raise DeviceError(f"trtexec wrote no {what}", where=where, seen="an empty file, or none", fix=fix)
    try:
        # strict=False: control characters stand raw in the names of fused layers
        return json.loads(text, strict=False, parse_constant=_no_number)
    except _NoNumber as error:
        raise DeviceError(
            f"the {what} hold a value that is no number", where=where, seen=_near(text, error.args[0]), fix=fix
        ) from error
    except json.JSONDecodeError as error:
        place = error.pos
        seen = " ".join(text[max(0, place - _SHOWN) : place + _SHOWN].split())
        rest = text[place:].lstrip().lstrip("-")
        if rest[:3].lower() in ("nan", "inf"):
            raise DeviceError(f"the {what} hold a value that is no number", where=where, seen=seen, fix=fix) from error
        raise DeviceError(f"the file of the {what} is cut short or no JSON", where=where, seen=seen, fix=fix) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise DeviceError(f"the file of the {what} is no JSON of trtexec", where=where, seen=text[:_SHOWN], fix=fix) from error


def array_of(text: str, what: str, where: str, fix: str) -> list[Any]:
    """As ``json_of``, of a file that holds a list."""
    value = json_of(text, what, where, fix)
    if not isinstance(value, list):
        raise DeviceError(f"the file of the {what} holds no list", where=where, seen=text[:_SHOWN], fix=fix)
    return value


class _NoNumber(ValueError):
    pass


def _no_number(constant: str) -> NoReturn:
    raise _NoNumber(constant)


def _near(text: str, word: str) -> str:
    place = max(0, text.find(word))
    return " ".join(text[max(0, place - _SHOWN) : place + _SHOWN].split())
