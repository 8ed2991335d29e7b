"""Exam: how good a float network is on the test images, which nothing was chosen by. Sweeps ask it of teacher and student."""

from __future__ import annotations

from edgekd import data, models
from edgekd.core import Outcome, share
from edgekd.stages.accuracy import right
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import earlier_network


def teacher(context: Context) -> Outcome:
    """Measures top1 of the teacher."""
    return _taken(context, "teacher", "teacher")


def student(context: Context) -> Outcome:
    """Measures top1 of the student as distilled."""
    return _taken(context, "distill", "student")


def _taken(context: Context, step: str, kind: str) -> Outcome:
    device, images = set_up(context.recipe), open_images(context)
    network = earlier_network(context, step, kind, device).to(device)
    logits = models.logits(network, data.eval_batches(images.test, images.preprocessing))
    return Outcome(measurements=(share("top1", right(logits, images.test.labels), images="test"),))
