"""The recipe's networks as it starts them, and as earlier steps left them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from edgekd import models
from edgekd.recipe import Recipe
from edgekd.stages.context import Context
from edgekd.stages.images import open_images


def new_network(
    recipe: Recipe, role: Literal["teacher", "student"], classes: int, *, to_be_trained: bool, number: int = 0
) -> nn.Module:
    """The network of this role: weights drawn from a seed of its own, then those the recipe names loaded over them.

    to_be_trained: a head for another number of classes is left as drawn; else it is an InputError. number: of several that start
    from different draws.
    """
    section = getattr(recipe, role)
    torch.manual_seed(recipe.seed + {"teacher": 1_000_003, "student": 2_000_003}[role] + 10_000_019 * number)
    network = models.create(section.model, classes=classes, image_size=recipe.data.image_size, width=section.width)
    source = "imagenet" if section.weights == "imagenet" else recipe.weights_file(role)
    if source is not None:
        models.load(network, source, replace_head=to_be_trained)
    return network


def earlier_network(context: Context, stage: str, kind: str, device: torch.device) -> nn.Module:
    """A network that an earlier step left: on the host, in eval mode; a teacher's ONNX file as what answers for it."""
    path = context.input(stage).path(kind)
    return onnx_teacher(context, path, device) if path.suffix == ".onnx" else models.load_saved(path)


def onnx_teacher(context: Context, path: Path, device: torch.device) -> nn.Module:
    """What answers for the ONNX file that the teacher's step left, given the images as the student sees them."""
    images = open_images(context)
    return models.OnnxTeacher(
        path, classes=len(images.classes), preprocessing=images.preprocessing, device=device,
        given=context.recipe.weights_file("teacher"),
    )  # fmt: skip
