"""What build and benchmark share: the target of their step, and the exported file it runs."""

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


def model_for(target: targets.Target, identity: Mapping[str, Any], export: Input) -> tuple[str, Path]:
    """The precision's name and the exported file this target runs: for int8 the flavour that suits its CPU."""
    kind = "fp32" if target.precision == "fp32" else targets.flavour_for(dict(identity))
    return target.precision, export.path(kind)
