"""Artifact: a file a step made; kind, path relative to the step's folder, sha256, bytes. Never changed after it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekd.core.files import sha256_of


@dataclass(frozen=True)
class Artifact:
    kind: str
    path: str
    sha256: str
    bytes: int

    @staticmethod
    def of(kind: str, path: Path, folder: Path) -> Artifact:
        """Describe the existing file ``path`` below ``folder``."""
        return Artifact(kind, path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Artifact:
        return Artifact(str(document["kind"]), str(document["path"]), str(document["sha256"]), int(document["bytes"]))

    def problem_below(self, folder: Path) -> str | None:
        """What is wrong with the file on disk (missing, other size, other bytes), or None."""
        path = folder / self.path
        if not path.is_file():
            return f"{self.path} is missing"
        if path.stat().st_size != self.bytes:
            return f"{self.path} has {path.stat().st_size} bytes, not {self.bytes}"
        if sha256_of(path) != self.sha256:
            return f"{self.path} has other bytes than when it was made"
        return None
