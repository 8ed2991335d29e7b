"""Distil: train the student against the frozen teacher; measure how much accuracy the student gives up."""

from __future__ import annotations

from torch import nn

from edgekd import distill, models
from edgekd.core import Outcome, paired_drop, share
from edgekd.recipe import Nothing
from edgekd.stages.accuracy import right
from edgekd.stages.compute import compute_used, set_up
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import earlier_network, held_out_logits, new_network
from edgekd.stages.training import train


def run(context: Context) -> Outcome:
    """Makes student.safetensors and curves.json; measures top1, and top1_drop against the teacher on the same images."""
    device = set_up(context.recipe)
    images, recipe = open_images(context), context.recipe
    teacher = earlier_network(context, "teacher", "teacher", device)
    right_T = right(held_out_logits(context, teacher), images.held_out.labels)
    trained, count = None, len(images.classes)
    if isinstance(recipe.distill, Nothing):
        student = new_network(recipe, "student", count, to_be_trained=False)
    else:
        method = distill.create(recipe.distill)
        students = [new_network(recipe, "student", count, to_be_trained=True, number=n) for n in range(method.students)]
        trained = train(context, students, method, recipe.distill, "distill", device, teacher=_teaching(method, teacher))
        student = students[trained.which]
    path = context.folder / "student.safetensors"
    models.save(student, path)
    right_S = right(held_out_logits(context, student), images.held_out.labels)
    return Outcome(
        (context.keep("student", path), *([context.keep_json("curves", trained.curves)] if trained else [])),
        (
            share("top1", right_S, images="held-out"),
            paired_drop("top1_drop", right_T, right_S, images="held-out", against="teacher"),
        ),
        {
            "parameters": models.count_parameters(student),
            "method": recipe.distill.method,
            **(trained.notes if trained else {"compute": compute_used(device)}),
        },
    )


def _teaching(method: distill.Method, teacher: nn.Module) -> nn.Module | None:
    """The teacher as the method uses it: not at all, as fast as can be, or as it was trained."""
    if not method.needs_teacher:
        return None
    return teacher if method.teacher_learns else models.fold_for_inference(teacher)
