"""Teacher: load its weights, fine-tune it or train it; measure how good it is on the held-out images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd import data, distill, models
from edgekd.core import Measurement, Outcome, share
from edgekd.stages.accuracy import expected_calibration_error, right, top5
from edgekd.stages.compute import compute_used, set_up
from edgekd.stages.context import Context
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images
from edgekd.stages.networks import new_network, onnx_teacher
from edgekd.stages.possible import require_distillable
from edgekd.stages.training import train

# Ours: a teacher that gets less than a tenth of the way from guessing to knowing was not trained on such images.
LEAST_KNOWN = 0.1


def run(context: Context) -> Outcome:
    """Makes teacher.safetensors, or teacher.onnx of an ONNX file, and curves.json; measures top1, top5 and ece."""
    own_seed = context.recipe.model_copy(update={"seed": context.recipe.teacher_seed})
    context = replace(context, recipe=own_seed)
    device = set_up(context.recipe)
    images, section = open_images(context), context.recipe.teacher
    if not context.last:  # of a sweep's teacher this is the recipe of one arm among many
        require_distillable(context)
    images.check_readable()  # a broken test image is told now, not after the training
    trained = None
    if section.is_onnx:
        network, path = _adopted(context, device)
    else:
        network = new_network(context.recipe, "teacher", len(images.classes), to_be_trained=section.epochs > 0)
        if section.epochs:
            if section.tune == "head":
                models.train_only_head(network)
            trained = train(context, [network], distill.create("label"), section, "teacher", device)
        path = context.folder / "teacher.safetensors"
        models.save(network, path)
    logits, labels = held_out_logits(context, network), images.held_out.labels
    top1 = share("top1", right(logits, labels), images="held-out")
    return Outcome(
        (context.keep("teacher", path), *([context.keep_json("curves", trained.curves)] if trained else [])),
        (top1, top5(logits, labels, images="held-out"), expected_calibration_error(logits, labels, images="held-out")),
        {
            "weights": section.weights,
            **_about(network),
            **(trained.notes if trained else {"compute": compute_used(device)}),
            **({} if trained or context.smoke else _doubts(top1, len(images.classes))),
        },
    )


def _adopted(context: Context, device: torch.device) -> tuple[nn.Module, Path]:
    """The recipe's ONNX file, copied with its normalization in its metadata, and what answers for it."""
    section, path = context.recipe.teacher, context.folder / "teacher.onnx"
    given = section.normalization
    own = data.IMAGENET if given == "imagenet" else (given.mean, given.std) if given is not None else None
    models.adopt_onnx(context.recipe.resolve(section.weights), path, normalization=own)
    return onnx_teacher(context, path, device), path


def _about(network: nn.Module) -> dict[str, Any]:
    if not isinstance(network, models.OnnxTeacher):
        return {"parameters": models.count_parameters(network)}
    return {"output": "probabilities, whose logarithms are taken for logits" if network.gives_probabilities else "logits"}


def _doubts(top1: Measurement, classes: int) -> dict[str, str]:
    """A warning where a ready-made teacher is hardly better than guessing."""
    guessing = 1 / classes
    if top1.value is None or top1.value > guessing + LEAST_KNOWN * (1 - guessing):
        return {}
    why = "usually its inputs are normalised otherwise (teacher.normalization), or its classes have another order"
    return {"warning": f"the teacher knows {top1.value:.3f} of the held-out images, guessing {guessing:.3f}: {why}"}
