"""What stands beside an engine: everything that must be the same for it to be used again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_SCHEMA = 1


@dataclass(frozen=True)
class Sidecar:
    """tensorrt: whole, "10.3.0.30"; compute_capability: "8.7"; module: as ``jetson.describe`` names it; onnx_sha256: of the file
    built from; words: trtexec's options, or the Python API's, beside file names; power_mode: its name. None: not told by the
    device. Two unknowns are the same: a device that tells less rebuilds no more often.

    The power mode is in it because tactics are chosen by timing.
    """

    tensorrt: str | None
    compute_capability: str | None
    module: str | None
    onnx_sha256: str
    words: tuple[str, ...]
    power_mode: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"schema": _SCHEMA, **asdict(self), "words": list(self.words)}
