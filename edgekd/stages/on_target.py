"""What the stages on a device share: the target of their step, the exported file it runs, and how long they time it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import targets
from edgekd.core import InputError
from edgekd.stages.context import Context, Input


def resolved(context: Context) -> targets.Target:
    if context.target is None:
        raise InputError("this stage runs per target", where="stages.on_target")
    return targets.resolve(context.target, context.recipe.targets[context.target])


def plan_of(context: Context, stage: str) -> targets.MeasuringPlan:
    """As much timing as the step's gates need; in a smoke run next to none."""
    return targets.LEAST if context.smoke else targets.plan_for(context.recipe.gates_of(stage, context.target))


def model_for(target: targets.Target, identity: Mapping[str, Any], export: Input) -> tuple[str, Path]:
    """The precision's name and the exported file this target runs: for int8 the flavour that suits its CPU."""
    kind = "fp32" if target.precision == "fp32" else targets.flavour_for(dict(identity))
    return target.precision, export.path(kind)
