"""The learning rate over training."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
