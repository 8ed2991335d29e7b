"""Teacher: load its weights, fine-tune it or train it; measure how good it is on the held-out images."""

from __future__ import annotations

from dataclasses import replace

from edgekd import distill, models
from edgekd.core import Outcome, share
from edgekd.stages.accuracy import expected_calibration_error, right, top5
from edgekd.stages.compute import compute_used, set_up
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import held_out_logits, new_network
from edgekd.stages.training import train


def run(context: Context) -> Outcome:
    """Makes teacher.safetensors and curves.json; measures top1, top5 and ece."""
    own_seed = context.recipe.model_copy(update={"seed": context.recipe.teacher_seed})
    context = replace(context, recipe=own_seed)
    device = set_up(context.recipe)
    images, section = open_images(context), context.recipe.teacher
    images.check_readable()  # a broken test image is told now, not after the training
    network = new_network(context.recipe, "teacher", len(images.classes), to_be_trained=section.epochs > 0)
    trained = None
    if section.epochs:
        if section.tune == "head":
            models.train_only_head(network)
        trained = train(context, [network], distill.create("label"), section, "teacher", device)
    path = context.folder / "teacher.safetensors"
    models.save(network, path)
    logits, labels = held_out_logits(context, network), images.held_out.labels
    return Outcome(
        (context.keep("teacher", path), *([context.keep_json("curves", trained.curves)] if trained else [])),
        (
            share("top1", right(logits, labels), images="held-out"),
            top5(logits, labels, images="held-out"),
            expected_calibration_error(logits, labels, images="held-out"),
        ),
        {
            "parameters": models.count_parameters(network),
            "weights": section.weights,
            **(trained.notes if trained else {"compute": compute_used(context.recipe, device)}),
        },
    )
