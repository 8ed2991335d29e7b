"""Distil: train the student against the teacher; measure how much accuracy it gives up, and what a teacher that learns gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from edgekd import distill, models
from edgekd.core import Artifact, Measurement, Outcome, paired_drop, share
from edgekd.recipe import Nothing
from edgekd.stages.accuracy import right
from edgekd.stages.compute import compute_used, set_up
from edgekd.stages.context import Context
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images
from edgekd.stages.networks import earlier_network, new_network
from edgekd.stages.training import train

_BEST = "the best one seen on the held-out images, the one before the training among them"
_LAST = "the last one: feedback_rollback is off, and the accuracies seen on the way chose nothing"


def run(context: Context) -> Outcome:
    """Makes student.safetensors and curves.json; measures top1, and top1_drop against the teacher on the same images.

    Of a teacher that learns from its students also improved_teacher.safetensors, improved_teacher.top1 and .top1_gain. The
    drop is against the teacher as it came.
    """
    device = set_up(context.recipe)
    images, recipe = open_images(context), context.recipe
    teacher = earlier_network(context, "teacher", "teacher", device)
    right_T = right(held_out_logits(context, teacher), images.held_out.labels)
    trained, count = None, len(images.classes)
    artifacts: list[Artifact] = []
    measured: list[Measurement] = []
    notes: dict[str, Any] = {}
    if isinstance(recipe.distill, Nothing):
        student = new_network(recipe, "student", count, to_be_trained=False)
    else:
        method = distill.create(recipe.distill)
        students = [new_network(recipe, "student", count, to_be_trained=True, number=n) for n in range(method.students)]
        trained = train(context, students, method, recipe.distill, "distill", device, teacher=_teaching(method, teacher))
        student = students[trained.which]
        artifacts, notes = [context.keep_json("curves", trained.curves)], trained.notes | _compared(method)
        if isinstance(method, distill.FFKD) and method.teacher_learns:
            kept, measured, told = _improved(context, method, teacher, right_T, trained.curves)
            artifacts, notes = [*artifacts, kept], notes | told
    path = context.folder / "student.safetensors"
    models.save(student, path)
    right_S = right(held_out_logits(context, student), images.held_out.labels)
    return Outcome(
        (context.keep("student", path), *artifacts),
        (
            share("top1", right_S, images="held-out"),
            paired_drop("top1_drop", right_T, right_S, images="held-out", against="teacher"),
            *measured,
        ),
        {
            "parameters": models.count_parameters(student),
            "method": recipe.distill.method,
            **(notes or {"compute": compute_used(device)}),
        },
    )


def _compared(method: distill.Method) -> dict[str, Any]:
    """Of a method that looks into networks: where it did."""
    if not isinstance(method, distill.Channel) or method.channel_weight == 0 or not method.taps:
        return {}
    found = [[tap.teacher, tap.student] for tap in method.pairs()]
    return {"taps": found, **({} if found else {"warning": "no feature maps were compared: one of the networks shows none"})}


def _improved(
    context: Context, method: distill.FFKD, teacher: nn.Module, right_before: Sequence[bool], curves: dict[str, Any]
) -> tuple[Artifact, list[Measurement], dict[str, Any]]:
    """The teacher that the method left: its file, how good it is, and what there is to say of how it came about."""
    path = context.folder / "improved_teacher.safetensors"
    models.save(teacher, path)
    right_after = right(held_out_logits(context, teacher), open_images(context).held_out.labels)
    gain = paired_drop("improved_teacher.top1_gain", right_after, right_before, images="held-out", against="teacher")
    told = {
        "top1_before": sum(right_before) / len(right_before),
        "top1_after": sum(right_after) / len(right_after),
        "chosen": _BEST if method.feedback_rollback else _LAST,
        "rollbacks": sum(len(epoch.get("rollbacks", ())) for epoch in curves["epochs"]),
        "worth_it": _worth_it(curves["logged"]["teacher_ce"][0]),
    }
    after = share("improved_teacher.top1", right_after, images="held-out")
    return context.keep("improved_teacher", path), [after, gain], {"improved_teacher": told}


def _worth_it(teacher_ce: float | None) -> str:
    """Where feedback was found to help (docs/ffkd.md), by the teacher's cross-entropy on the students' first epoch."""
    if teacher_ce is None:
        return "in the first epoch the teacher's cross-entropy on the train batches was not finite"
    found = "no use" if teacher_ce < 0.35 else "of use" if teacher_ce > 0.8 else "neither clearly of use nor of none"
    seen = f"in the first epoch the teacher's cross-entropy on the train batches was {teacher_ce:.2f}"
    return f"{seen}: there, feedback was found to be {found}"


def _teaching(method: distill.Method, teacher: nn.Module) -> nn.Module | None:
    """The teacher as the method uses it: not at all, as fast as can be, or as it was trained, where it learns or the user says
    which of its modules are looked at: a convolution would give what the normalization folded into it gives."""
    if not method.needs_teacher:
        return None
    named = isinstance(method, distill.Channel) and method.taps not in ("auto", ())
    return teacher if method.teacher_learns or named else models.fold_for_inference(teacher)
