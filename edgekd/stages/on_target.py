"""What the stages on a device share: the target of their step, the files it runs, and how long they time them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import targets
from edgekd.core import InputError
from edgekd.stages.context import Context, Input

ENGINE = "engine-"  # kinds of built engines: engine-<precision>


def resolved(context: Context) -> targets.Target:
    if context.target is None:
        raise InputError("this stage runs per target", where="stages.on_target")
    return targets.resolve(context.target, context.recipe.targets[context.target])


def plan_of(context: Context, stage: str) -> targets.MeasuringPlan:
    """As much timing as the step's gates need; in a smoke run next to none."""
    return targets.LEAST if context.smoke else targets.plan_for(context.recipe.gates_timed_for(stage, context.target))


def files_for(target: targets.Target, identity: Mapping[str, Any], made: Input) -> dict[str, Path]:
    """{precision: ONNX file}: what the target runs first, then its yardsticks there.

    Without fp16 where the network overflows it. made: the step that exported, ``sketch`` or ``export``.
    """
    wanted = targets.candidates(target, identity, gated="gated" in made.outcome.notes)
    if "overflow" in made.outcome.notes and target.precision != "fp16":
        wanted.pop("fp16", None)
    return {precision: made.path(flavour) for precision, flavour in wanted.items()}


def say_removed(context: Context, built: Mapping[str, targets.Built]) -> dict[str, str]:
    """Tell what the device removed of its older engines; the same as a note to keep, if there is any."""
    told = "; ".join(f"{precision}: {one.removed}" for precision, one in built.items() if one.removed)
    if told:
        context.say({"done": 1, "total": 1, "note": told})
    return {"removed": told} if told else {}


def what_runs(target: targets.Target, identity: Mapping[str, Any], export: Input, build: Input) -> dict[str, Path]:
    """{precision: the file that runs}: the engines that ``build`` made on the device, or the ONNX files themselves."""
    files = files_for(target, identity, export)
    return {precision: build.path(ENGINE + precision) for precision in files} if target.builds_engines else files
