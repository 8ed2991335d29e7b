"""Versions of TensorRT: as tools and packages write them, and which of them trtexec's options are known for."""

from __future__ import annotations

from edgekd.core import InputError
from edgekd.device.tensorrt_found import numbers

Version = tuple[int, int]

OLDEST: Version = (8, 2)  # 8.0 does not list an engine's layers
NEWEST: dict[int, Version] = {10: (10, 16), 11: (11, 1)}  # by major version, of the published sources
_OF_8 = ((8, 2), (8, 4), (8, 5), (8, 6))
_KNOWN = "8.2, 8.4 to 8.6, 10.x and 11.x"


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version, two to four, see ``tensorrt_found.numbers``. Raises InputError for what is no version."""
    version = numbers(text)
    if version is None:
        raise InputError("not a version of TensorRT", seen=text, fix='such as "8.5" or "10.3.0.30"')
    return version


def version_of(text: str) -> Version:
    """(10, 3) of "10.3", "10.3.0.30". Raises InputError for what is no version."""
    major, minor = parse_version(text)[:2]
    return major, minor


def known_releases() -> tuple[Version, ...]:
    """Every release whose options are known, oldest first."""
    return (*_OF_8, *((major, minor) for major, newest in NEWEST.items() for minor in range(newest[1] + 1)))


def taken_as(version: Version) -> tuple[Version, str | None]:
    """The version whose options are used, and why if it is another: those of a newer 10.x or 11.x are taken to be those of the
    newest one known. Raises InputError: a version whose options are not known here."""
    newest = NEWEST.get(version[0])
    if newest is None and version not in _OF_8:
        seen = f"{version[0]}.{version[1]}"
        raise InputError("the options of this TensorRT are not known", seen=seen, fix=f"known: {_KNOWN}")
    if newest is None or version <= newest:
        return version, None
    theirs, ours = (f"{major}.{minor}" for major, minor in (version, newest))
    return newest, f"TensorRT {theirs} is newer than edgekd knows: it is given the options of {ours}"
