"""Parity: how far two executions of one network are apart, on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import InputError

HIGHEST_SQNR_DB = 200.0  # stands for "equal"; float32 rounding alone gives about 140


def compare(reference: NDArray[Any], other: NDArray[Any]) -> dict[str, float]:
    """top1_agreement (share of images with the same argmax), sqnr_db, max_abs and n, of logits [N,C] against a reference [N,C].

    sqnr_db = 10 log10(sum reference**2 / sum (reference - other)**2) over all logits, at most 200. Report it with the agreement:
    either alone misleads. Raises InputError: shapes differ, no images, or logits that are not finite.
    """
    if reference.shape != other.shape or reference.ndim != 2:
        raise InputError("parity needs two arrays of logits [N,C] of one shape", seen=f"{reference.shape} and {other.shape}")
    if reference.size == 0:
        raise InputError("parity needs at least one image", seen=f"{reference.shape}")
    left, right = reference.astype(np.float64), other.astype(np.float64)
    for name, logits in (("reference", left), ("other", right)):
        if not np.isfinite(logits).all():
            bad = int((~np.isfinite(logits)).any(1).sum())
            raise InputError("logits are not finite", where=name, seen=f"{bad} of {len(logits)} images")
    signal, noise = float((left**2).sum()), float(((left - right) ** 2).sum())
    ratio = 10 * np.log10(signal / noise) if noise > 0 and signal > 0 else (HIGHEST_SQNR_DB if noise == 0 else -HIGHEST_SQNR_DB)
    return {
        "top1_agreement": float((left.argmax(1) == right.argmax(1)).mean()),
        "sqnr_db": float(np.clip(ratio, -HIGHEST_SQNR_DB, HIGHEST_SQNR_DB)),
        "max_abs": float(np.abs(left - right).max()),
        "n": len(left),
    }
