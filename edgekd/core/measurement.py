"""Measurement: a named number with its unit, how many things it was taken over, its interval and its conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One number a step measured.

    name: dotted, unit in the name where it has one (``latency_ms.p90``). value: None when it was not measured.
    unit: "fraction", "ms", "MB", "dB", "s", "count", "ratio" or "1". n: images or queries behind it; 0 is not measured.
    low, high: the interval as reported (two-sided 95 %, or min-max over rounds); None where the number has no interval.
    counts: what the interval is made from, so that a gate can ask at another confidence: (hits,) of n for a share,
    (lost, won) of n for a paired difference, empty otherwise. rounds: one value a round for timing measurements.
    right: for a share, which of the n were hits (``core.bits``), so that two shares of the same images can be paired.
    suspect: reasons why the conditions make the number inconclusive. n_needed: set when n is below what the number needs.
    """

    name: str
    value: float | None
    unit: str
    n: int
    low: float | None = None
    high: float | None = None
    counts: tuple[int, ...] = ()
    rounds: tuple[float, ...] = ()
    suspect: tuple[str, ...] = ()
    n_needed: int | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    right: str = ""

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None and math.isfinite(self.low) and math.isfinite(self.high)

    def as_json(self) -> dict[str, Any]:
        """Every field, in JSON types, ``right`` only where there is one; a value or a round that is not finite is left out and
        named in ``suspect``."""
        odd = self.value is not None and not math.isfinite(self.value)
        suspect = [*self.suspect, *([f"the value was {self.value}"] if odd else [])]
        suspect += [f"a round was measured as {value}" for value in self.rounds if not math.isfinite(value)]
        return {
            "name": self.name,
            "value": None if odd else self.value,
            "unit": self.unit,
            "n": self.n,
            "low": _finite_or_none(self.low),
            "high": _finite_or_none(self.high),
            "counts": list(self.counts),
            "rounds": [value for value in self.rounds if math.isfinite(value)],
            "suspect": suspect,
            "n_needed": self.n_needed,
            "conditions": dict(self.conditions),
            **({"right": self.right} if self.right else {}),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Measurement:
        fields = dict(document)
        for name in ("counts", "rounds", "suspect"):
            fields[name] = tuple(fields.get(name) or ())
        return Measurement(**fields)


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
