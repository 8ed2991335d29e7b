"""Which TensorRT a device has, by which of its two ways it is driven, and whether its options are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.core import EnvironmentProblem, InputError
from edgekd.device import tensorrt_found
from edgekd.targets.jetson.identity import Described, describe
from edgekd.targets.tensorrt.versions import Version, taken_as
from edgekd.targets.told import told_at


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
    with told_at(where):
        version, backend = tensorrt_found.way(probed)
    try:
        _, newer = taken_as((version[0], version[1]))
    except InputError as error:
        raise EnvironmentProblem(error.what, where=where, seen=".".join(map(str, version)), fix=error.fix) from error
    return Installed(version, backend, describe(probed.get("said") or {}), newer)
