"""What would stop a training at its start, asked before anything is trained for it."""

from __future__ import annotations

from typing import Any

import torch

from edgekd.core import InputError
from edgekd.distill.taps import pair_up
from edgekd.recipe import Nothing, Training
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import new_network


def require_distillable(context: Context) -> None:
    """Raises InputError: weights that are not the student's, too few images for a batch, taps at modules that a network of the
    recipe's does not have, or that give no map."""
    recipe, images = context.recipe, open_images(context)
    section, count = recipe.distill, len(images.classes)
    student = new_network(recipe, "student", count, to_be_trained=not isinstance(section, Nothing))
    if isinstance(section, Nothing):
        return
    require_a_batch(section, len(images.train), "distill")
    taps: Any = getattr(section, "taps", "auto")
    if taps != "auto" and not recipe.teacher.is_onnx:  # which is not trained
        teacher = new_network(recipe, "teacher", count, to_be_trained=recipe.teacher.epochs > 0)
        pair_up(teacher, student, torch.zeros(1, 3, *recipe.data.height_width), taps)


def require_a_batch(section: Training, images: int, name: str) -> None:
    """Raises InputError: the train images are fewer than one batch must have. name: the recipe's section."""
    if images < section.least_batch:
        what = f"{name} needs batches of at least {section.least_batch} images, and there are fewer to train on"
        raise InputError(what, where="data", seen=str(images), fix="more train images, or a larger data.train_per_class")
