"""Outcome: what a step leaves: artifacts, measurements, and notes a reader of the report wants (JSON values only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgekd.core.artifact import Artifact
from edgekd.core.measurement import Measurement


@dataclass(frozen=True)
class Outcome:
    artifacts: tuple[Artifact, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "artifacts": [artifact.as_json() for artifact in self.artifacts],
            "measurements": [measurement.as_json() for measurement in self.measurements],
            "notes": dict(self.notes),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Outcome:
        return Outcome(
            tuple(Artifact.from_json(one) for one in document["artifacts"]),
            tuple(Measurement.from_json(one) for one in document["measurements"]),
            document.get("notes", {}),
        )
