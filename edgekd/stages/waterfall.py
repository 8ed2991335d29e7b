"""The accuracy waterfall: the same images through one execution of the student after the other, and what each step costs.

The note "waterfall" of export and benchmark is a list of {"flavour", "images", "n", "steps": [{"name", "top1"}], "hops":
[{"from", "to", "lost", "won": images that turn wrong and right, "drop", "low", "high": (lost - won) / n with its 95 % interval,
"agreement", "sqnr_db", "max_abs", "worst": {"tensor", "sqnr_db"} or null}]}; a value that is not finite is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import paired_drop
from edgekd.stages.accuracy import right
from edgekd.stages.signal import parity


@dataclass(frozen=True)
class Execution:
    """name: what ran, for a person. logits: float32 [N,C]."""

    name: str
    logits: NDArray[np.float32]


def waterfall(
    flavour: str,
    images: str,
    labels: NDArray[np.int64],
    executions: Sequence[Execution],
    inner: Sequence[Mapping[str, float]] = (),
) -> dict[str, Any]:
    """One waterfall, as above. images: what they are, "held-out" or "test"; inner: by hop, the SQNR in dB of tensors by name."""
    rights = [right(one.logits, labels) for one in executions]
    steps = [{"name": one.name, "top1": float(np.mean(each))} for one, each in zip(executions, rights, strict=True)]
    hops = []
    for place, (before, after) in enumerate(pairwise(range(len(executions)))):
        drop = paired_drop("top1_drop", rights[before], rights[after]).as_json()
        signal = {one.name: one.as_json()["value"] for one in parity("", executions[before].logits, executions[after].logits)}
        lost, won = drop["counts"]
        hops.append(
            {
                "from": executions[before].name, "to": executions[after].name, "lost": lost, "won": won,
                "drop": drop["value"], "low": drop["low"], "high": drop["high"],
                "agreement": signal[".top1_agreement"], "sqnr_db": signal[".sqnr_db"], "max_abs": signal[".max_abs"],
                "worst": _worst(inner[place]) if place < len(inner) else None,
            }
        )  # fmt: skip
    return {"flavour": flavour, "images": images, "n": len(labels), "steps": steps, "hops": hops}


def _worst(inner: Mapping[str, float]) -> dict[str, Any] | None:
    """The tensor with the least SQNR, the first of equals; one that is not finite is worst of all."""
    ranked = {name: value if np.isfinite(value) else -np.inf for name, value in inner.items()}
    if not ranked:
        return None
    name = min(ranked, key=lambda one: ranked[one])
    return {"tensor": name, "sqnr_db": inner[name] if np.isfinite(inner[name]) else None}
