"""A smoke run: every stage on a handful of images, as fast as it can be. It shows that the chain walks, and proves nothing."""

from __future__ import annotations

from typing import Any

from edgekd.recipe import TEACHER_LEARNS, Nothing, Recipe

STEPS = 3  # of the one epoch of a training
MOST_BATCH, LEAST_BATCH = 32, 4  # fewer are too few for FFKD
CALIBRATION_IMAGES = 32
MEASURED_IMAGES = 64


def shortened(recipe: Recipe) -> Recipe:
    """The recipe with one epoch of small batches wherever it trains, and few calibration images; all else as it stands."""
    trains = [recipe.teacher, recipe.quantize, *([] if isinstance(recipe.distill, Nothing) else [recipe.distill])]
    batch = max(LEAST_BATCH, min([MOST_BATCH, *(section.batch_size for section in trains)]))
    batch += -batch % recipe.compute.devices

    def short(section: Any) -> Any:
        update: dict[str, Any] = {"epochs": min(section.epochs, 1), "batch_size": batch}
        if isinstance(section, TEACHER_LEARNS):  # of so small a batch not every number of processes could part a share
            often = min(1, section.feedback_every)
            update |= {"feedback_batch_share": 1.0, "feedback_every": often, "feedback_start": 0.0, "feedback_stop": 1.0}
        return section.model_copy(update=update)

    calibration = min(recipe.quantize.calibration_images, CALIBRATION_IMAGES)
    changed = {
        "teacher": short(recipe.teacher) if recipe.teacher.epochs else recipe.teacher,
        "distill": recipe.distill if isinstance(recipe.distill, Nothing) else short(recipe.distill),
        "quantize": short(recipe.quantize).model_copy(update={"calibration_images": calibration}),
    }
    return recipe.model_copy(update=changed)


def images_kept(recipe: Recipe) -> dict[str, int]:
    """How many images of each split a ``shortened`` recipe walks with."""
    return {"train": STEPS * recipe.quantize.batch_size, "held_out": MEASURED_IMAGES, "test": MEASURED_IMAGES}
