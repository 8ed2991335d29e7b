"""Which TensorRT a device has, and by which of its two ways it is driven: the Python API, or trtexec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.core import EnvironmentProblem, InputError
from edgekd.targets.jetson.identity import Described, describe
from edgekd.targets.tensorrt.versions import Version, parse_version, taken_as

_BY_PYTHON = ((8, 5), (11, 0))  # from, and before: what edgekd's own calls are checked against
_FIX = "on the device: sudo apt-get install tensorrt (libnvinfer-bin for trtexec alone)"


@dataclass(frozen=True)
class Installed:
    """version: two to four numbers. backend: the agent's word for the way, "tensorrt" (Python) or "trtexec". newer: that it is
    newer than edgekd knows, and what that means."""

    version: tuple[int, ...]
    backend: str
    device: Described
    newer: str | None = None

    @property
    def release(self) -> Version:
        return self.version[0], self.version[1]

    @property
    def by(self) -> str:
        """The way, in words."""
        return {"tensorrt": "the Python API", "trtexec": "trtexec"}[self.backend]


def installed(probed: Mapping[str, Any], where: str) -> Installed:
    """From a probe's "said". Raises EnvironmentProblem: no TensorRT, or one whose options edgekd does not know."""
    said = probed.get("said") or {}
    device = describe(said)
    if device.tensorrt is None:
        seen = said.get("trtexec_banner") or said.get("trtexec") or "no trtexec, no package, no Python module"
        raise EnvironmentProblem("the device has no TensorRT that tells its version", where=where, seen=seen, fix=_FIX)
    version = parse_version(device.tensorrt)
    try:
        _, newer = taken_as((version[0], version[1]))
    except InputError as error:
        raise EnvironmentProblem(error.what, where=where, seen=device.tensorrt, fix=error.fix) from error
    in_python = said.get("tensorrt_python")
    if said.get("trtexec") and "numpy" not in (probed.get("identity") or {}).get("versions", {"numpy": ""}):
        in_python = None  # the Python API needs it, trtexec does not
    backend = _backend(version, bool(said.get("trtexec")), in_python)
    if backend is None:
        what = "TensorRT is there, but neither trtexec nor its Python module"
        if said.get("tensorrt_python"):
            what = "there is no trtexec, and TensorRT's Python module is one that edgekd does not drive (8.5 to 10.x it does)"
        raise EnvironmentProblem(what, where=where, seen=device.tensorrt, fix=_FIX)
    return Installed(version, backend, device, newer)


def _backend(version: tuple[int, ...], has_trtexec: bool, in_python: str | None) -> str | None:
    """Python where it has that very TensorRT: it answers the whole test set in one process, trtexec needs one an image."""
    since, before = _BY_PYTHON
    release = re.match(r"\d{1,4}(?:\.\d{1,4}){1,3}", in_python or "")  # of Python's "10.3.0.post1"
    same = release is not None and parse_version(release[0])[:3] == version[:3]
    return "tensorrt" if same and since <= version[:2] < before else "trtexec" if has_trtexec else None
