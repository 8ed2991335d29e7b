"""A quantized student on the held-out images: the simulation of each int8 file it ships as, against the fp32 student."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import quant
from edgekd.core import Measurement, paired_drop, share
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.signal import sqnr


@dataclass(frozen=True)
class Rounded:
    """By flavour: which held-out images its simulation gets right, and its SQNR in dB. float_right: of the fp32 student."""

    quantized: quant.Quantized
    rights: Mapping[str, Sequence[bool]]
    sqnr_db: Mapping[str, float]
    float_right: Sequence[bool]

    @property
    def top1(self) -> float:
        """Mean over the flavours."""
        return float(np.mean([np.mean(right) for right in self.rights.values()]))

    @property
    def lost(self) -> float:
        """Top-1 given up against the fp32 student, in the mean of the flavours: the worst of three is too often bad luck."""
        return float(np.mean(self.float_right)) - self.top1

    def better_than(self, other: Rounded) -> bool:
        """More top-1, where these images can tell: beyond two standard errors of the paired difference. Else more SQNR in the
        worst flavour, which a few lucky images do not move."""
        gained_N = self._shares() - other._shares()
        error = float(gained_N.std()) / math.sqrt(len(gained_N))
        if abs(gained_N.mean()) > 2 * error:
            return bool(gained_N.mean() > 0)
        return self._least_sqnr() > other._least_sqnr()

    def _shares(self) -> NDArray[np.float64]:
        """Of each image, the share of flavours that get it right."""
        shares_N: NDArray[np.float64] = np.mean([list(right) for right in self.rights.values()], axis=0)
        return shares_N

    def in_short(self) -> str:
        """For a sentence: mean top-1, least SQNR."""
        return f"top1 {self.top1:.4f} and {self._least_sqnr():.1f} dB"

    def measurements(self, prefix: str = "") -> tuple[Measurement, ...]:
        """top1, top1_drop and sqnr_db, each of the flavour that has the worst, named in its conditions."""
        accurate = min(self.rights, key=lambda one: (sum(self.rights[one]), self._ranked(one)))
        quiet = min(self.sqnr_db, key=self._ranked)
        where: dict[str, Any] = {"images": "held-out", "simulated": "torch"}
        return (
            share(f"{prefix}top1", self.rights[accurate], flavour=accurate, **where),
            paired_drop(
                f"{prefix}top1_drop", self.float_right, self.rights[accurate], against="fp32 student", flavour=accurate, **where
            ),
            Measurement(
                f"{prefix}sqnr_db", self.sqnr_db[quiet], "dB", len(self.float_right), conditions={**where, "flavour": quiet}
            ),
        )

    def _ranked(self, flavour: str) -> float:
        value = self.sqnr_db[flavour]
        return value if math.isfinite(value) else -math.inf

    def _least_sqnr(self) -> float:
        return min(self._ranked(flavour) for flavour in self.sqnr_db)


def judged_rounded(
    context: Context,
    quantized: quant.Quantized,
    flavours: Sequence[str],
    float_logits: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> Rounded:
    """``quantized`` simulated as each of ``flavours`` on the held-out images, with these labels and float logits [N, classes]."""
    network, logits = quantized.trainable().eval(), {}
    for flavour in flavours:
        quant.use(network, flavour)
        logits[flavour] = held_out_logits(context, network)
    return Rounded(
        quantized,
        {flavour: right(found, labels) for flavour, found in logits.items()},
        {flavour: sqnr(float_logits, found) for flavour, found in logits.items()},
        right(float_logits, labels),
    )
