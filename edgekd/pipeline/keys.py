"""Keys: a hash of everything that can change a step's result, and of nothing else.

A bound that only judges is not in a key: loosening it judges again and trains nothing. A bound a stage decides by is. What
``compute: auto`` turns out to be on a machine (threads, GPU) is not: it moves the last bits of a training and not its worth, and
the step's notes tell it.
"""

from __future__ import annotations

import copy
import hashlib
import platform
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import edgekd
from edgekd import data, export, targets
from edgekd.core import Outcome, digest
from edgekd.core.files import sha256_of
from edgekd.pipeline.chain import CHAIN, EXAMS, Stage, Step
from edgekd.recipe import Nothing, Recipe
from edgekd.stages.images import normalization_of
from edgekd.stages.on_target import ENGINE

ONLY_REACHES = ("required", "host", "python")  # of a target: what it runs on says the device itself
_ONLY_NAMES = ("name", "aliases")  # of a device's profile
LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


class Keys:
    """The keys of one recipe's steps. Reads the images once and asks each device who it is once, both when first needed."""

    def __init__(
        self, recipe: Recipe, digest_memo: Path | None, *, reach: targets.Reach | None = None, smoke: bool = False
    ) -> None:
        """reach: where the recipe's devices are; None: as recipe and environment say."""
        self.recipe, self._digest_memo, self._smoke = recipe, digest_memo, smoke
        self.reach = reach or targets.reach_of(recipe.targets)
        self.not_measured = targets.why_not_measured(recipe.targets, self.reach)
        self._identities: dict[str, Mapping[str, Any]] = {}

    def of(self, recipe: Recipe) -> Keys:
        """The keys of the same recipe with another student or image size: of the same images and devices, asked once."""
        other = copy.copy(self)
        other.recipe = recipe
        return other

    @cached_property
    def described(self) -> data.Description:
        """Classes, counts and digest of the images, without decoding them. Raises InputError."""
        return data.describe(self.recipe.data, root=self.recipe.folder, memo=self._digest_memo)

    def parts(self, step: Step, inputs: Mapping[str, Outcome]) -> dict[str, Any]:
        """What ``step``'s key is made of. Raises DeviceError if its device does not answer."""
        device = self._identity(step.target) if step.target and step.target not in self.not_measured else None
        return key_parts(step, self.recipe, inputs, data=self.described.digest, device=device, smoke=self._smoke)

    def why_not_taken(self, step: Step) -> str | None:
        """Why this step is not to be taken here, or None if it is: its target cannot be measured, and it prepares nothing:
        only an engine is made of files by commands."""
        if step.target is None or (step.stage.prepares and self.recipe.targets[step.target].runtime == "tensorrt"):
            return None
        return self.not_measured.get(step.target)

    def _identity(self, target: str) -> Mapping[str, Any]:
        if target not in self._identities:
            with targets.connect(targets.resolve(target, self.recipe.targets[target]), self.reach) as connection:
                self._identities[target] = connection.probe()["identity"]
        return self._identities[target]


def key_parts(
    step: Step,
    recipe: Recipe,
    inputs: Mapping[str, Outcome],
    *,
    data: str | None,
    device: Mapping[str, Any] | None,
    smoke: bool = False,
) -> dict[str, Any]:
    """Everything step's key is made of, readable, as the store keeps it beside the result.

    inputs: outcomes of the needed steps by step name. data: digest of the images; device: identity of the target, for steps
    that have one, None while it is not connected: what was prepared for it is never taken for measured. smoke: what was made
    of a handful of images is never taken for a real result.
    """
    stage = step.stage
    sections = {name: _that_counts(name, section, recipe, stage) for name, section in recipe.as_json().items()}
    return {
        "stage": stage.name,
        "version": stage.version,
        "smoke": smoke,
        "source": source_digest(stage),
        "libraries": library_versions(),
        "recipe": {name: sections[name] for name in stage.reads},
        "decides_by": deciding_bounds(step, recipe),
        **_files_asked_for(stage, recipe),
        "target": sections["targets"][step.target] if step.target else None,
        "profile": _profile(recipe.targets[step.target].device) if step.target else None,
        "inputs": {
            name: _facts(name, made, stage, recipe) for name, made in sorted(inputs.items()) if _is_read(name, stage, recipe)
        },
        "data": {"digest": data, "normalization": normalization_of(recipe)} if stage.data else None,
        "device": dict(device) if device is not None else None,
        "weights": _weights(stage, recipe),
    }


def key_of(parts: Mapping[str, Any]) -> str:
    """40 hex digits: enough to be unique, short enough for a folder's name."""
    return digest(parts)[:40]


def deciding_bounds(step: Step, recipe: Recipe) -> Any:
    """What of its gates a step decides by.

    ``quantize.mode: auto`` asks whether PTQ holds the quantize gates. What times on a device measures as many rounds and
    queries as its gates need, wherever their limits lie: a new p99 measures again, a moved bound does not.
    """
    if step.stage.name == "quantize" and recipe.quantize.mode == "auto":
        return recipe.gates.get("quantize")
    if step.stage.name in ("preflight", "benchmark"):
        return targets.plan_for(recipe.gates_timed_for(step.stage.name, step.target)).as_json()
    return None


def _profile(device: str) -> dict[str, Any]:
    """A user's own lies outside the source: its thresholds and rails decide numbers, its memory what is built."""
    return {key: value for key, value in targets.profile(device).as_json().items() if key not in _ONLY_NAMES}


def _that_counts(name: str, section: Any, recipe: Recipe, stage: Stage) -> Any:
    """What of a section can change the stage's result: not where files lie (their bytes count), nor what only judges."""
    match stage.name, name:
        case "quantize", "teacher" | "distill":
            return _taken_over(name, section, recipe)
        case "quantize", "quantize" if recipe.quantize.mode == "ptq":
            return {key: section[key] for key in ("mode", "calibration_images")}
        case "export", "quantize":  # for the yardstick, which calibrates on the same images
            return {"calibration_images": section["calibration_images"]}
        case _, "data":
            return {key: value for key, value in section.items() if key != "path"}
        case "teacher", "seed":
            return recipe.teacher_seed
        case _, "teacher" | "student":
            kept = {key: value for key, value in section.items() if key != "seed"}
            return {**kept, "weights": "file" if recipe.weights_file(name) else section["weights"]}
        case _, "targets":
            return {target: {key: one[key] for key in one if key not in ONLY_REACHES} for target, one in section.items()}
        case _:
            return section


def _taken_over(name: str, section: Mapping[str, Any], recipe: Recipe) -> dict[str, Any] | None:
    """What fine-tuning takes over from the float training: the student's or, where it had none, the teacher's."""
    trained = "teacher" if isinstance(recipe.distill, Nothing) else "distill"
    if recipe.quantize.mode == "ptq" or name != trained:
        return None
    rate = ["learning_rate"] if recipe.quantize.learning_rate == "auto" else []
    return {key: section[key] for key in (*rate, "momentum", "weight_decay")}


def _is_read(name: str, stage: Stage, recipe: Recipe) -> bool:
    """Does the stage look at the result of the needed step ``name``? Quantizing only where it fine-tunes by the teacher."""
    if (stage.name, name) != ("quantize", "teacher"):
        return True
    return recipe.quantize.mode != "ptq" and recipe.quantize.distill in ("teacher", "both")


def _files_asked_for(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """What of all targets together decides which files are made: their number and kind, and not which device wants one.

    exact_sums: onnxruntime's own tool, the yardstick of the export, takes 7-bit weights on a CPU without. precisions: for those
    with float16 the export asks whether the network overflows it.
    """
    oldest = targets.oldest_tensorrt(recipe.targets)
    match stage.name:
        case "sketch":
            return {"flavours": list(targets.flavours_of(recipe.targets)), "oldest_tensorrt": oldest}
        case "quantize":
            return {"flavours": list(targets.int8_flavours_of(recipe.targets))}
        case "export":
            flavours = list(targets.flavours_of(recipe.targets))
            precisions = sorted({targets.precision_of(spec) for spec in recipe.targets.values() if spec.runtime == "tensorrt"})
            asked = {"flavours": flavours, "oldest_tensorrt": oldest, "precisions": precisions}
            return {**asked, "exact_sums": export.exact_sums()}
        case _:
            return {}


def _weights(stage: Stage, recipe: Recipe) -> str | None:
    """sha256 of the weights file the stage starts from."""
    match stage.name:
        case "teacher":
            path = recipe.weights_file("teacher")
        case "distill":
            path = recipe.weights_file("student")
        case _:
            path = None
    return sha256_of(path) if path else None


def _facts(name: str, outcome: Outcome, stage: Stage, recipe: Recipe) -> Any:
    """What of a needed outcome counts: its files; for the bundle, whose card quotes them, the measured numbers too; but of a
    build only the engine that the bundle takes, and who built it.

    Not the curves, which nothing reads but a report: the same weights trained again took other seconds.
    """
    files = {artifact.kind: artifact.sha256 for artifact in outcome.artifacts if artifact.kind != "curves"}
    if stage.name != "bundle":
        return files
    target, _, made_by = name.rpartition("/")
    if made_by == "build":
        kind, identity = ENGINE + targets.precision_of(recipe.targets[target]), outcome.notes.get("identity", {})
        told = {fact: identity.get(fact) for fact in ("tensorrt", "compute_capability", "module")}
        return {"engine": files[kind], **told} if kind in files else None
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
    """Hash of the stage's own file, of what stages share, and of the rooms it uses with their templates and tables: changed
    code never reuses an old result."""
    package = Path(edgekd.__file__).parent
    others = {_file_of(one) for one in (*CHAIN, *EXAMS.values())} - {_file_of(stage)}
    shared = [path for path in (package / "stages").glob("*.py") if path.name not in others]
    rooms = [path for room in ("core", *stage.rooms) for path in (package / room).rglob("*")]
    state = hashlib.sha256()
    for path in sorted([*shared, *(path for path in rooms if path.is_file() and path.parent.name != "__pycache__")]):
        state.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()
