"""Which TensorRT a device has by its own words, and by which of its two ways it is driven: the Python API, or trtexec.

A kit asks here on the device, and a host where it has reached one: so both choose alike.
"""

import re
from typing import Any, Dict, Mapping, Optional, Tuple

from .problem import Problem

# As ``dpkg -l`` and ``dpkg-query -W`` list packages; one that was removed but for its settings is "rc".
_PACKAGE = re.compile(r"^(?:[a-z]i[ \t]+)?([a-z0-9][a-z0-9.+-]+)(?::\w+)?[ \t]+(\d\S*)", re.MULTILINE)
_BANNER = re.compile(r"\[TensorRT v(\d{4,6})\]")
_DOTTED = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){1,3})(?:[-+~ ].*)?$")
_NUMBER = re.compile(r"v?(\d{4,6})(?:\s*\[b(\d{1,9})\])?$")
_RELEASE = re.compile(r"\d{1,9}(?:\.\d{1,9}){1,3}")  # of Python's "10.3.0.post1"
_BY_PYTHON = ((8, 5), (11, 0))  # from, and before: what edgekd's own calls are checked against
_FIX = "on the device: sudo apt-get install tensorrt (libnvinfer-bin for trtexec alone)"


def packages(said: Mapping[str, Any]) -> Dict[str, str]:
    """{name: version} of the installed packages that the device was asked for."""
    return dict(_PACKAGE.findall(said.get("dpkg") or ""))


def numbers(text: str) -> Optional[Tuple[int, ...]]:
    """(10, 3, 0, 30) of "10.3.0.30-1+cuda12.5", (10, 13, 3, 9) of "101303 [b9]", (8, 2, 1) of "8201"; None of what is no version.

    Up to 9, trtexec writes major * 1000 + minor * 100 + patch; from 10 on major * 10000 + minor * 100 + patch.
    """
    text = text.strip()
    dotted = _DOTTED.match(text)
    if dotted:
        return tuple(int(part) for part in dotted.group(1).split("."))
    number = _NUMBER.match(text)
    if number is None:
        return None
    value, build = int(number.group(1)), number.group(2)
    by = 1000 if value < 10000 else 10000
    return (value // by, value % by // 100, value % 100) + ((int(build),) if build else ())


def version(said: Mapping[str, Any]) -> Optional[Tuple[int, ...]]:
    """What trtexec says it runs with; the package tells the same version to more digits; else what Python has. None: not told."""
    listed = packages(said)
    library = next((found for name, found in listed.items() if re.match(r"libnvinfer\d+$", name)), None)
    packaged = numbers(listed.get("libnvinfer-bin") or library or "")
    banner = _BANNER.search(said.get("trtexec_banner") or "")
    ran = numbers(banner.group(1)) if banner else None
    if ran and packaged and packaged[: len(ran)] == ran:
        return packaged
    brought = _in_python(said)
    if brought and not (ran or said.get("trtexec")) and (packaged or ())[: len(brought)] != brought:
        packaged = None  # what is packaged is not what Python brings along, and no trtexec would run it
    return ran or packaged or brought


def way(probed: Mapping[str, Any]) -> Tuple[Tuple[int, ...], str]:
    """(version, "tensorrt" for the Python API or "trtexec") of a probe. Python where it has that very TensorRT: it answers the
    whole test set in one process, trtexec needs one an image. Raises Problem "environment": none, or no way to drive it."""
    said = probed.get("said") or {}
    found, has_trtexec, brought = version(said), bool(said.get("trtexec")), _in_python(said)
    if found is None:
        seen = said.get("trtexec_banner") or said.get("trtexec") or "no trtexec, no package, no Python module"
        raise Problem("environment", "the device has no TensorRT that tells its version", seen=seen, fix=_FIX)
    numpy = "numpy" in (probed.get("identity") or {}).get("versions", ("numpy",))
    if has_trtexec and not numpy:
        brought = None  # the Python API needs numpy, trtexec does not
    if brought and brought[:3] == found[:3] and _BY_PYTHON[0] <= found[:2] < _BY_PYTHON[1]:
        return found, "tensorrt"
    if has_trtexec:
        return found, "trtexec"
    what = "TensorRT is there, but neither trtexec nor its Python module"
    if said.get("tensorrt_python"):
        what = "there is no trtexec, and TensorRT's Python module is one that edgekd does not drive (8.5 to 10.x it does)"
    raise Problem("environment", what, seen=".".join(str(number) for number in found), fix=_FIX)


def _in_python(said):
    release = _RELEASE.match(said.get("tensorrt_python") or "")
    return numbers(release.group(0)) if release else None
