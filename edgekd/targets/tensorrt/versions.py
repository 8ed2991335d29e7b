"""Versions of TensorRT: as tools and packages write them, and which of them trtexec's options are known for."""

from __future__ import annotations

import re

from edgekd.core import InputError

Version = tuple[int, int]

OLDEST: Version = (8, 2)  # 8.0 does not list an engine's layers
NEWEST: dict[int, Version] = {10: (10, 16), 11: (11, 1)}  # by major version, of the published sources
_OF_8 = ((8, 2), (8, 4), (8, 5), (8, 6))
_KNOWN = "8.2, 8.4 to 8.6, 10.x and 11.x"
_NUMBER = re.compile(r"v?(\d{4,6})(?:\s*\[b(\d+)\])?")
_DOTTED = re.compile(r"v?(\d+(?:\.\d+){1,3})(?:[-+~ ].*)?")


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version, two to four: (10, 3, 0, 30) of the package's "10.3.0.30-1+cuda12.5", (10, 13, 3, 9) of
    trtexec's "101303 [b9]", (8, 2, 1) of its "8201". Raises InputError for what is no version.

    Up to 9, trtexec writes major·1000 + minor·100 + patch; from 10 on major·10000 + minor·100 + patch.
    """
    text = text.strip()
    if dotted := _DOTTED.fullmatch(text):
        return tuple(int(part) for part in dotted[1].split("."))
    if number := _NUMBER.fullmatch(text):
        value = int(number[1])
        by = 1000 if value < 10000 else 10000
        build = (int(number[2]),) if number[2] else ()
        return (value // by, value % by // 100, value % 100, *build)
    raise InputError("not a version of TensorRT", seen=text, fix='such as "8.5" or "10.3.0.30"')


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
