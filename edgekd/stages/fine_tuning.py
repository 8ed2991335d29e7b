"""Quantization-aware training of a student that is quantized already: its flavours in turns, learning from its own fp32 answers.

Defaults measured on small networks at 8 bits and below (26 letters, 1 to 3 epochs): a hundredth of the float peak rate, a tenth
where PTQ lost more than a point; a cosine to zero; KL at temperature 2 to the student's own fp32 weights, which needs no labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekd import distill, models, quant
from edgekd.recipe import Nothing, Recipe, Training
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images
from edgekd.stages.networks import earlier_network
from edgekd.stages.rounded import Rounded
from edgekd.stages.training import train

TEMPERATURE = 2.0
MUCH_LOST = 0.01  # of top-1, by PTQ
GENTLE, STRONG = 0.01, 0.1  # shares of the float peak learning rate


@dataclass(frozen=True)
class FineTuned:
    """The student after its best epoch; curves for curves.json, notes for the outcome."""

    quantized: quant.Quantized
    curves: dict[str, Any]
    notes: dict[str, Any]


def fine_tune(context: Context, ptq: Rounded, student: nn.Module, device: torch.device) -> FineTuned:
    """Train on from ``ptq`` as ``recipe.quantize`` says. student: the fp32 network it was made from.

    Each step rounds as one of the int8 files, in turns that depend on the number of the step alone. The best epoch is the one
    with the highest held-out top-1, in the mean of their simulations. In float32: bfloat16 has no room for 256 levels.
    """
    section, images = context.recipe.quantize, open_images(context)
    flavours = tuple(ptq.rights)
    network = ptq.quantized.trainable()
    rate = learning_rate(context.recipe, ptq.lost) if section.learning_rate == "auto" else section.learning_rate
    # not validated again: unlike the trainings of a recipe, this one has no batch statistics and can take one image at a time
    floating = float_training(context.recipe)
    training = Training.model_construct(
        epochs=section.epochs, batch_size=section.batch_size, learning_rate=rate, momentum=floating.momentum,
        weight_decay=floating.weight_decay, warmup=0.0,
    )  # fmt: skip

    def in_turn(step: int) -> None:
        quant.use(network, flavours[step % len(flavours)])

    def mean_top1(candidate: nn.Module) -> float:
        found = []
        for flavour in flavours:
            quant.use(candidate, flavour)
            found.append(np.mean(right(held_out_logits(context, candidate), images.held_out.labels)))
        return float(np.mean(found))

    method, teacher = _lesson(context, student, device)
    trained = train(
        context, [network], method, training, "quantize", device,
        teacher=teacher, evaluate=mean_top1, before_step=in_turn, in_float32=True,
    )  # fmt: skip
    notes = {"learning_rate": rate, "learns_from": section.distill, "best_epoch": trained.curves["best_epoch"]}
    return FineTuned(ptq.quantized.with_weights(network.cpu().state_dict()), trained.curves, {**trained.notes, "qat": notes})


def float_training(recipe: Recipe) -> Training:
    """How the student was trained in float; where it was not, how the teacher was."""
    return recipe.teacher if isinstance(recipe.distill, Nothing) else recipe.distill


def learning_rate(recipe: Recipe, lost: float) -> float:
    """From the peak of the float training and the top-1 that PTQ lost."""
    return float_training(recipe).learning_rate * (STRONG if lost > MUCH_LOST else GENTLE)


def _lesson(context: Context, student: nn.Module, device: torch.device) -> tuple[distill.Method, nn.Module | None]:
    """The loss and the frozen network it compares with."""
    wanted = context.recipe.quantize.distill
    if wanted == "none":
        return distill.create("label"), None
    networks = [models.fold_for_inference(student)] if wanted in ("self", "both") else []
    if wanted in ("teacher", "both"):
        networks.append(models.fold_for_inference(earlier_network(context, "teacher", "teacher", device)))
    frozen = networks[0] if len(networks) == 1 else distill.Consensus(networks, TEMPERATURE)
    return distill.create("kd", temperature=TEMPERATURE, ce_weight=0.0, kd_weight=1.0), frozen
