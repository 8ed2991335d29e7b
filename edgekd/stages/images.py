"""The recipe's images, opened once for all stages that run in one process. No torch."""

from __future__ import annotations

from edgekd import data
from edgekd.core import digest
from edgekd.recipe import Recipe
from edgekd.stages import smoke
from edgekd.stages.context import Context

Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]
_opened: dict[str, data.Dataset] = {}


def normalization_of(recipe: Recipe) -> Normalization | None:
    """ImageNet's mean and std where a network starts from ImageNet weights, else those that published networks for the source
    were trained with; None stands for those of the train images."""
    if "imagenet" in (recipe.teacher.weights, recipe.student.weights):
        return data.IMAGENET
    return data.PUBLISHED.get(recipe.data.source)


def open_images(context: Context) -> data.Dataset:
    """The data set, with the recipe's normalization; in a smoke run a handful of it."""
    recipe = context.recipe
    most = smoke.images_kept(recipe) if context.smoke else None
    normalization = normalization_of(recipe)
    key = digest([recipe.as_json()["data"], str(recipe.folder), normalization, most])
    if key not in _opened:
        _opened.clear()
        _opened[key] = data.open_dataset(
            recipe.data, root=recipe.folder, cache=context.cache, normalization=normalization, most=most
        )
    return _opened[key]
