"""Is a valid recipe ready to run? What can be known about its files and names before any work, asked without torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from edgekd import targets
from edgekd.core import InputError, RecipeError
from edgekd.models.names import check_model
from edgekd.recipe import TEACHER_LEARNS, Recipe, Training, batches_of, error_at, missing_files, part_of_batch
from edgekd.stages.parallel import trains


def require_ready(recipe: Recipe) -> None:
    """Raises RecipeError, with every problem and its place: files that are not there, unknown models, widths and devices."""
    problems = [*missing_files(recipe), *_unknown(recipe), *_unequal_shares(recipe)]
    if problems:
        problems[0].others = tuple(problems[1:])
        raise problems[0]


def reach_of(
    recipe: Recipe, given: Sequence[str] = (), ssh_config: Path | None = None, replies: Sequence[Path] = ()
) -> targets.Reach:
    """Where the devices of a recipe that is ready are; given: NAME=[user@]HOST[:port], replies: of kits. Raises RecipeError,
    InputError, IntegrityError."""
    require_ready(recipe)
    return targets.reach_of(recipe.targets, given, ssh_config, replies=replies)


def require_enough_images(recipe: Recipe, images: int, stages: Collection[str]) -> None:
    """Raises InputError: one of these stages, by name, cannot train on so many images, or not on so many devices, or it would,
    but without the feedback that the recipe asks for."""
    for name in ("teacher", "distill", "quantize"):
        section = getattr(recipe, name)
        if name not in stages or not trains(name, recipe):
            continue
        least = section.least_batch if isinstance(section, Training) else 2  # one has no batch statistics
        if images < least:
            what = f"{name} needs batches of at least {least} images, and there are fewer to train on"
            raise InputError(what, where="data", seen=str(images), fix="more train images, or a larger data.train_per_class")
        count, size = batches_of(images, section.batch_size)
        if size % (devices := recipe.compute.devices):
            what = f"all train images are one batch of {name}, which cannot be parted equally among {devices} devices"
            fix = f"a multiple of {devices} that is at most {size}, or another compute.devices"
            raise error_at(recipe, f"{name}.batch_size", what, seen=f"{size} images", fix=fix)
        if isinstance(section, TEACHER_LEARNS) and section.feedback_every and not section.feedback_comes(images):
            what = "feedback never comes: no turn of the teacher falls between feedback_start and feedback_stop"
            seen = f"{section.epochs} epochs of {count} steps of {size} images, feedback_every {section.feedback_every}"
            fix = "more epochs, a smaller feedback_every, or feedback_every: 0"
            raise error_at(recipe, "distill.feedback_every", what, seen=seen, fix=fix)


def _unknown(recipe: Recipe) -> list[RecipeError]:
    problems = []
    for role, section in (("teacher", recipe.teacher), ("student", recipe.student)):
        if section.model is None:  # a teacher that is an ONNX file
            continue
        fit = recipe.fit if section.width == "auto" else None
        key = "fit.width" if fit and "width" in fit.model_fields_set else "student.width"
        widths = [(key, one) for one in fit.width] if fit else []
        for key, width in [(f"{role}.model", 1.0 if section.width == "auto" else section.width), *widths]:
            try:
                check_model(section.model, width, where=key)
            except InputError as error:
                problems.append(_placed(recipe, key, error))
                break
    for name, spec in recipe.targets.items():
        try:
            targets.resolve(name, spec)
            targets.reach_of({name: spec}, environment={})  # what the recipe itself names
        except InputError as error:
            problems.append(_placed(recipe, error.where or f"targets.{name}", error))
    return problems


def _unequal_shares(recipe: Recipe) -> list[RecipeError]:
    """Each device takes an equal share of every batch."""
    devices, problems = recipe.compute.devices, []
    for name in ("teacher", "distill", "quantize"):
        size = getattr(getattr(recipe, name), "batch_size", devices)
        if trains(name, recipe) and size % devices:
            what = f"{name}.batch_size cannot be parted equally among {devices} devices"
            fix = f"{name}.batch_size: {size + -size % devices}, or another compute.devices"
            problems.append(error_at(recipe, f"{name}.batch_size", what, seen=str(size), fix=fix))
    if isinstance(recipe.distill, TEACHER_LEARNS) and recipe.distill.feedback_every:
        share, whole = recipe.distill.feedback_batch_share, recipe.distill.batch_size
        size = part_of_batch(whole, share)
        if share < 1 and size % devices:
            what = f"a feedback batch cannot be parted equally among {devices} devices"
            seen = f"{share:g} of {whole} images: {size}"
            problems.append(error_at(recipe, "distill.feedback_batch_share", what, seen=seen, fix="feedback_batch_share: 1"))
    return problems


def _placed(recipe: Recipe, key: str, error: InputError) -> RecipeError:
    return error_at(recipe, key, f"{key}: {error.what}", seen=error.seen, fix=error.fix)
