"""Context: what a stage is given; the recipe, the files it needs, a folder of its own, and a way to say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekd.core import Artifact, Measurement, Outcome
from edgekd.core.files import write_json
from edgekd.recipe import Recipe


@dataclass(frozen=True)
class Input:
    """The outcome of a needed step and the folder its files lie in."""

    outcome: Outcome
    folder: Path

    def path(self, kind: str) -> Path:
        """The file of this kind; every stage promises its kinds, so a missing one is a bug."""
        return next(self.folder / artifact.path for artifact in self.outcome.artifacts if artifact.kind == kind)

    def measurement(self, name: str) -> Measurement | None:
        return next((one for one in self.outcome.measurements if one.name == name), None)


@dataclass(frozen=True)
class Context:
    """Given to a stage. folder: new and empty, all it may write. inputs: by step name ("export", "cpu/build").

    say: takes progress as {"done", "total", "note"} for the terminal; nothing else a stage prints reaches a person. smoke: the
    walk only tries the chain; the recipe is a ``smoke.shortened`` one, and what is timed is timed as little as can be. last: the
    walk was asked to end with this stage: what the recipe wants after it does not matter. reach: the
    ``targets.Reach`` of the recipe's devices, which no stage writes down (a room that not every stage needs, so it is not named).
    checkpoint: a folder, to be made, for what a killed step goes on from; it is still there for the next process, and goes away
    when the step is finished.
    """

    recipe: Recipe
    folder: Path
    inputs: Mapping[str, Input] = field(default_factory=dict)
    target: str | None = None
    cache: Path | None = None
    say: Callable[[Mapping[str, Any]], None] = lambda event: None
    smoke: bool = False
    checkpoint: Path | None = None
    last: bool = False
    reach: Any = None

    def input(self, stage: str) -> Input:
        """The needed step of this stage for the context's own target, or the one that serves all targets."""
        return self.inputs[stage] if stage in self.inputs else self.inputs[f"{self.target}/{stage}"]

    def keep(self, kind: str, path: Path) -> Artifact:
        """Declare a file written below ``folder`` an artifact."""
        return Artifact.of(kind, path, self.folder)

    def keep_json(self, kind: str, value: Any) -> Artifact:
        """Write ``value`` as <kind>.json and declare it."""
        path = self.folder / f"{kind}.json"
        write_json(path, value)
        return self.keep(kind, path)
