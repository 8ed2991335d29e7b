"""Right or wrong, image by image, and how sure: from logits [N, C] and labels [N] to measurements."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgekd.core import Measurement, share

ECE_BINS = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4


def right(logits_NC: NDArray[np.float32], labels_N: NDArray[np.int64], k: int = 1) -> list[bool]:
    """Whether each label is among its image's k largest logits; a row with NaN is wrong."""
    usable_N = np.isfinite(logits_NC).all(axis=1)
    label_logit_N1 = np.take_along_axis(logits_NC, labels_N[:, None], axis=1)
    above_N = (logits_NC > label_logit_N1).sum(axis=1)
    tied_before_N = ((logits_NC == label_logit_N1) & (np.arange(logits_NC.shape[1]) < labels_N[:, None])).sum(axis=1)
    return [bool(one) for one in usable_N & (above_N + tied_before_N < k)]


def top5(logits_NC: NDArray[np.float32], labels_N: NDArray[np.int64], **conditions: object) -> Measurement:
    """Share of images whose label is among the five largest logits (all of them, with five classes or fewer)."""
    return share("top5", right(logits_NC, labels_N, k=5), **conditions)


def expected_calibration_error(logits_NC: NDArray[np.float32], labels_N: NDArray[np.int64], **conditions: object) -> Measurement:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by images. No interval.

    NaN if a logit is not finite.
    """
    n = len(labels_N)
    if n == 0:
        return Measurement("ece", None, "fraction", 0, conditions=conditions)
    if not np.isfinite(logits_NC).all():
        return Measurement("ece", math.nan, "fraction", n, conditions=conditions)
    shifted_NC = logits_NC.astype(np.float64) - logits_NC.max(axis=1, keepdims=True)
    p_NC = np.exp(shifted_NC) / np.exp(shifted_NC).sum(axis=1, keepdims=True)
    confidence_N, right_N = p_NC.max(axis=1), np.array(right(logits_NC, labels_N))
    bins_N = np.minimum((confidence_N * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = (abs((right_N[bins_N == b] - confidence_N[bins_N == b]).sum()) for b in range(ECE_BINS))
    return Measurement("ece", float(sum(gaps) / n), "fraction", n, conditions=conditions)
