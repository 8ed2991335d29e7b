"""Profile: what a kind of device can do, as data; read from a JSON object whose every key is checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edgekd.core import InputError
from edgekd.core.nearest import nearest

RUNTIMES = ("onnxruntime", "tensorrt")
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4")


@dataclass(frozen=True)
class Profile:
    """A kind of device. precisions: what its hardware computes in; int8_native: in integer units, not emulated.

    is_local: the machine edgekd runs on. compute_capability, memory_gib: of a GPU module, None for a CPU. tensorrt: its version
    by JetPack release, oldest first. power_modes: their names. power_rails: the rail that carries the whole board, or those that
    add up to it, as tegrastats names them. suspect: thresholds, see ``edgekd.targets.suspect``.
    """

    name: str
    runtimes: tuple[str, ...]
    precisions: tuple[str, ...]
    int8_native: bool
    is_local: bool = False
    aliases: tuple[str, ...] = ()
    soc: str | None = None
    arch: str | None = None
    compute_capability: str | None = None
    sm_count: int | None = None
    gpu_max_mhz: float | None = None
    memory_gib: float | None = None
    dla_cores: int = 0
    default_jetpack: str | None = None
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    power_modes: tuple[str, ...] = ()
    power_rails: tuple[str, ...] = ()
    suspect: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What ``profile_of`` makes the same profile of."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


_REQUIRED = ("name", "runtimes", "precisions", "int8_native")
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str) and bool(value)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number, 0 or more", lambda value: type(value) is int and value >= 0),
    "float": ("a number, 0 or more", lambda value: type(value) in (int, float) and value >= 0),
    "tuple[str, ...]": ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value)),
    "Mapping[str, str]": ("texts by name", lambda value: _is_mapping(value, str)),
    "Mapping[str, float]": ("numbers by name", lambda value: _is_mapping(value, int, float)),
}


def profile_of(entry: Any, where: str, rules: Collection[str]) -> Profile:
    """The profile that a JSON object describes. where: the file, for errors. rules: names that ``suspect`` may have.

    Raises InputError, with key, value and the nearest name: no object, an unknown or missing key, a value of another kind.
    """
    if not isinstance(entry, dict):
        raise InputError("a device profile is one JSON object", where=where, seen=type(entry).__name__, fix=_COPY)
    for key, value in entry.items():
        _check(key, value, f"{where}: {key}")
    missing = [key for key in _REQUIRED if key not in entry]
    if missing:
        raise InputError(f"a device profile needs {', '.join(missing)}", where=where, fix=_COPY)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", entry["name"]):
        fix = "small letters, digits, dots and dashes"
        raise InputError("not a device's name", where=f"{where}: name", seen=entry["name"], fix=fix)
    for key, known in (("runtimes", RUNTIMES), ("precisions", PRECISIONS), ("suspect", rules)):
        for word in entry.get(key, ()):
            if word not in known:
                raise InputError(f"no such word in {key}", where=f"{where}: {key}", seen=word, fix=_nearest(word, known))
    lists = {one.name for one in fields(Profile) if one.type == "tuple[str, ...]"}
    checked: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in entry.items()}
    return Profile(**checked)


_COPY = "edgekd devices show NAME prints one to copy"


def _check(key: str, value: Any, where: str) -> None:
    kinds = {one.name: str(one.type) for one in fields(Profile)}
    if key not in kinds:
        raise InputError("unknown key of a device profile", where=where, seen=key, fix=_nearest(key, kinds))
    words, is_one = _KINDS[kinds[key].removesuffix(" | None")]
    if not is_one(value) and not (value is None and kinds[key].endswith(" | None")):
        raise InputError(f"must be {words}", where=where, seen=repr(value), fix=_COPY)


def _nearest(word: str, known: Collection[str]) -> str:
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else "one of " + ", ".join(sorted(known))


def _is_mapping(value: Any, *kinds: type) -> bool:
    return isinstance(value, dict) and all(type(one) in kinds for one in value.values())
