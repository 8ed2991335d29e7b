"""What would stop a training at its start, asked before anything is trained for it."""

from __future__ import annotations

from typing import Any

import torch

from edgekd.distill.taps import pair_up
from edgekd.recipe import Nothing
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import new_network


def require_distillable(context: Context) -> None:
    """Raises InputError: weights that are not the student's, taps at modules that a network of the recipe's does not have, or
    that give no map."""
    recipe, count = context.recipe, len(open_images(context).classes)
    section = recipe.distill
    student = new_network(recipe, "student", count, to_be_trained=not isinstance(section, Nothing))
    if isinstance(section, Nothing):
        return
    taps: Any = getattr(section, "taps", "auto")
    if taps not in ("auto", ()):
        teacher = new_network(recipe, "teacher", count, to_be_trained=recipe.teacher.epochs > 0)
        pair_up(teacher, student, torch.zeros(1, 3, *recipe.data.height_width), taps)
