"""Keys: a hash of everything that can change a step's result, and of nothing else.

A bound that only judges is not in a key: loosening it judges again and trains nothing. A bound a stage decides by is.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import edgekd
from edgekd import data, targets
from edgekd.core import Outcome, digest
from edgekd.core.files import sha256_of
from edgekd.pipeline.chain import CHAIN, Stage, Step
from edgekd.recipe import Recipe

LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


class Keys:
    """The keys of one recipe's steps. Reads the images once and asks each device who it is once, both when first needed."""

    def __init__(self, recipe: Recipe, digest_memo: Path | None) -> None:
        self.recipe, self._digest_memo = recipe, digest_memo
        self.document = recipe.as_json()
        self.not_measured = targets.why_not_measured(recipe.targets)
        self._identities: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def described(self) -> data.Description:
        """Classes, counts and digest of the images, without decoding them. Raises InputError."""
        return data.describe(self.recipe.data, root=self.recipe.folder, memo=self._digest_memo)

    def parts(self, step: Step, inputs: Mapping[str, Outcome]) -> dict[str, Any]:
        """What ``step``'s key is made of. Raises DeviceError if its device does not answer."""
        device = self._identity(step.target) if step.target else None
        parts = key_parts(step, self.document, inputs, data=self.described.digest, device=device)
        return {**parts, "weights": self._weights(step.stage)}

    def _weights(self, stage: Stage) -> str | None:
        """The bytes, not the path, of a weights file count."""
        section: Any = {"teacher": self.recipe.teacher, "distill": self.recipe.student}.get(stage.name)
        if section is None or section.weights in ("train", "none", "imagenet"):
            return None
        return sha256_of(self.recipe.resolve(section.weights))

    def _identity(self, target: str) -> Mapping[str, Any]:
        if target not in self._identities:
            with targets.connect(targets.resolve(target, self.recipe.targets[target])) as connection:
                self._identities[target] = connection.probe()["identity"]
        return self._identities[target]


def key_parts(
    step: Step, recipe: Mapping[str, Any], inputs: Mapping[str, Outcome], *, data: str | None, device: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything step's key is made of, readable, as the store keeps it beside the result.

    recipe: the whole recipe as plain data with its defaults. inputs: outcomes of the needed steps by step name.
    data: digest of the images; device: identity of the target, for steps that have one.
    """
    stage = step.stage
    return {
        "stage": stage.name,
        "version": stage.version,
        "source": source_digest(stage),
        "libraries": library_versions(),
        "recipe": {section: recipe[section] for section in stage.reads},
        "decides_by": deciding_bounds(stage, recipe),
        "target": recipe["targets"][step.target] if step.target else None,
        "inputs": {name: _facts(outcome, stage) for name, outcome in sorted(inputs.items())},
        "data": data if stage.data else None,
        "device": dict(device) if device is not None else None,
    }


def key_of(parts: Mapping[str, Any]) -> str:
    """40 hex digits: enough to be unique, short enough for a folder's name."""
    return digest(parts)[:40]


def deciding_bounds(stage: Stage, recipe: Mapping[str, Any]) -> Any:
    """The gates a stage decides by: ``quantize.mode: auto`` asks whether PTQ holds the quantize gates."""
    if stage.name == "quantize" and recipe["quantize"]["mode"] == "auto":
        return recipe["gates"].get("quantize")
    return None


def _facts(outcome: Outcome, stage: Stage) -> Any:
    """What of a needed outcome counts: its files; for the bundle, whose card quotes them, the measured numbers too."""
    files = {artifact.kind: artifact.sha256 for artifact in outcome.artifacts}
    if stage.name != "bundle":
        return files
    return {"files": files, "measured": [measurement.as_json() for measurement in outcome.measurements]}


@cache
def library_versions() -> dict[str, str | None]:
    """Versions of what decides numbers, without importing any of it; None for what is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _file_of(stage: Stage) -> str:
    return f"{stage.entry.partition(':')[0].rpartition('.')[2]}.py"


@cache
def source_digest(stage: Stage) -> str:
    """Hash of the stage's own file, of what stages share, and of the rooms it uses: changed code never reuses an old result."""
    package = Path(edgekd.__file__).parent
    others = {_file_of(one) for one in CHAIN if one is not stage}
    shared = [path for path in (package / "stages").glob("*.py") if path.name not in others]
    files = [*shared, *(path for room in ("core", *stage.rooms) for path in (package / room).rglob("*.py"))]
    state = hashlib.sha256()
    for path in sorted(files):
        state.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()
