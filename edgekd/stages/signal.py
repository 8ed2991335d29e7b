"""Signal to quantization noise of logits, and agreement: how far two executions of one network part."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgekd.core import Measurement, share

MOST_DB = 200.0  # equal outputs have infinite SQNR; a number stays a number


def sqnr(reference_NC: NDArray[np.float32], other_NC: NDArray[np.float32]) -> float:
    """10 log10(sum reference^2 / sum (reference - other)^2) over all logits, in dB, at most 200; NaN if either is not finite."""
    reference, other = reference_NC.astype(np.float64), other_NC.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return decibels(float((reference**2).sum()), float(((reference - other) ** 2).sum()))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise), at most 200; NaN if either is not finite."""
    if not (math.isfinite(signal) and math.isfinite(noise)):
        return math.nan
    if noise == 0:
        return MOST_DB
    return min(MOST_DB, 10 * math.log10(signal / noise)) if signal > 0 else -MOST_DB


def parity(
    name: str, reference_NC: NDArray[np.float32], other_NC: NDArray[np.float32], **conditions: object
) -> tuple[Measurement, ...]:
    """``name``.top1_agreement, .sqnr_db and .max_abs of two executions on the same images, in the same order.

    Rows with a logit that is not finite agree with nothing.
    """
    n = len(reference_NC)
    usable_N = np.isfinite(reference_NC).all(axis=1) & np.isfinite(other_NC).all(axis=1)
    same = [bool(one) for one in usable_N & (reference_NC.argmax(axis=1) == other_NC.argmax(axis=1))]
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(reference_NC - other_NC).max()) if n else math.nan
    return (
        share(f"{name}.top1_agreement", same, **conditions),
        Measurement(f"{name}.sqnr_db", sqnr(reference_NC, other_NC), "dB", n, conditions=conditions),
        Measurement(f"{name}.max_abs", largest, "1", n, conditions=conditions),
    )
