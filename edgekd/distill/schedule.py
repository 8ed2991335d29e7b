"""The learning rate over training, and which weights decay."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

DROP = 0.1  # of the rate at each milestone, as in all of mdistiller's settings


def learning_rate_factor(step: int, steps: int, warmup: float, milestones: Sequence[float] = ()) -> float:
    """What to multiply the learning rate by at ``step`` (from 0) of ``steps``, in (0, 1].

    Rises in equal parts over the first ``warmup`` share of the steps, then falls along a cosine; the step after the last one
    would be at 0. Cosine: Loshchilov and Hutter 2017 (SGDR), without restarts. With ``milestones``, shares of the steps, it
    falls to a tenth at each of them instead.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if milestones:
        return DROP ** sum(step >= round(milestone * steps) for milestone in milestones)
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / (steps - rising)))


def parameter_groups(student: nn.Module, weight_decay: float) -> list[dict[str, list[Tensor] | float]]:
    """One group: weight decay on every parameter that trains, BatchNorm and biases included.

    So did the SLD and mdistiller settings that published results come from. Leaving BatchNorm and biases out is as common; we
    keep the papers' choice, so that their tables can be repeated.
    """
    return [{"params": [weight for weight in student.parameters() if weight.requires_grad], "weight_decay": weight_decay}]
