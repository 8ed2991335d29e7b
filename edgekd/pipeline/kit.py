"""The kit of a finished run: what its steps on one target would ask of a device, for one that no network reaches."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import data, targets
from edgekd.core import Artifact, InputError, IntegrityError, Outcome
from edgekd.core.files import disk_problems
from edgekd.core.nearest import did_you_mean
from edgekd.core.runtimes import BUILT_IN
from edgekd.recipe import Recipe
from edgekd.stages import Context, Input
from edgekd.stages.images import open_images
from edgekd.stages.on_target import files_for, plan_of
from edgekd.stages.preflight import GLANCE, ROUND_S
from edgekd.targets.kit.making import Asked, most_images, write_kit


@dataclass(frozen=True)
class MadeKit:
    """A kit that was written. images: in it, of ``test_images``; versions: of TensorRT, that it has words for; else ()."""

    path: Path
    size_mb: float
    images: int
    test_images: int
    versions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path), "versions": list(self.versions)}

    @property
    def runs_on(self) -> str:
        """In words."""
        return f"TensorRT {self.versions[0]} to {self.versions[-1]}" if self.versions else "onnxruntime"


def make_kit(recipe: Recipe, run: Path, stages: Mapping[str, Outcome], name: str, output: Path, cache: Path) -> MadeKit:
    """Write the kit of a run for the target ``name``. stages: the run's outcomes of "sketch" and "export", whose files lie in
    folders of these names below ``run``; cache: where decoded images are kept.

    Raises InputError: no such target, one that is this machine, or a run that has not come so far. IntegrityError: a file of the
    run is not what it was.
    """
    target = _target(recipe, name)
    made = {stage: _input(stage, run, stages) for stage in ("sketch", "export")}

    def files(stage: str, identity: Mapping[str, Any]) -> Mapping[str, Path] | None:
        try:
            return files_for(target, identity, made[stage])
        except StopIteration:  # a flavour that no JetPack of this device needs
            return None

    context = Context(recipe, run, target=name, cache=cache)
    images = open_images(context)
    example = np.load(made["sketch"].path("example"), allow_pickle=False)
    most = most_images(target, example.nbytes)
    tested = images.test if len(images.test) <= most else images.test[data.spread_over_classes(images.test.labels, most)]
    asked = Asked(
        files, example, GLANCE, replace(plan_of(context, "preflight"), round_s=ROUND_S),
        data.model_inputs(tested[:1], images.preprocessing), plan_of(context, "benchmark"),
        data.input_chunks(tested, images.preprocessing),
    )  # fmt: skip
    new_kit = shlex.join(["edgekd", "kit", str(run), "--target", name])
    about = {"recipe": recipe.name, "images": len(tested), "test_images": len(images.test), "new_kit": new_kit}
    with disk_problems(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="edgekd-kit-") as folder:
        content = write_kit(output, target, asked, about, Path(folder))
    size_mb = output.stat().st_size / 1e6
    versions = tuple(content["chosen_by"]) if target.builds_engines else ()
    return MadeKit(output, size_mb, len(tested), len(images.test), versions)


def _target(recipe: Recipe, name: str) -> targets.Target:
    if name not in recipe.targets:
        fix = "the recipe's targets are " + ", ".join(recipe.targets)
        raise InputError(f"unknown target '{name}'{did_you_mean(name, recipe.targets)}", where="--target", seen=name, fix=fix)
    target = targets.resolve(name, recipe.targets[name])
    if target.runtime not in BUILT_IN:
        fix = f"edgekd pipeline --host {name}=[user@]HOST measures it over ssh"
        raise InputError(f"a kit runs TensorRT or onnxruntime, and not {target.runtime}", where="--target", seen=name, fix=fix)
    if target.profile.is_local:
        raise InputError(f"{name} is this machine, and needs no kit", where="--target", fix="edgekd pipeline measures it")
    return target


def _input(stage: str, run: Path, stages: Mapping[str, Outcome]) -> Input:
    """A step's outcome, its files compared with what the run says of them."""
    if stage not in stages:
        fix = "edgekd pipeline takes the run as far as export, without the device; then make the kit"
        raise InputError(f"the run has no finished {stage}", where=str(run), fix=fix)
    for artifact in stages[stage].artifacts:
        if problem := artifact.problem_below(run / stage):
            what = f"a file of the run is not what it was: {problem}"
            raise IntegrityError(what, where=str(run / stage), fix="run the pipeline again: it makes good what is damaged")
    return Input(stages[stage], run / stage)


def outcomes_of(rows: list[dict[str, Any]]) -> dict[str, Outcome]:
    """{stage: outcome} of the finished steps without target in a run's document, as files below a folder of the stage's name."""
    found = {}
    for row in rows:
        if row.get("target") or row["status"] not in ("done", "cached"):
            continue
        prefix = row["name"] + "/"
        files = (Artifact(one["kind"], one["path"].removeprefix(prefix), one["sha256"], one["bytes"]) for one in row["artifacts"])
        found[row["name"]] = Outcome(tuple(files), (), row.get("notes", {}))
    return found
