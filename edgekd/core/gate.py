"""Gates and verdicts: a bound on one measurement, tested on one side. What was not measured never passes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist
from typing import Any, Literal

from edgekd.core.measurement import Measurement
from edgekd.core.statistics import LEAST_ROUNDS, bonett_price_interval, wilson_interval

MOST_N = 100_000_000  # beyond this, more images do not settle the question; n_needed is None


class Verdict(str, Enum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_MEASURED = "NOT_MEASURED"
    WAIVED = "WAIVED"


@dataclass(frozen=True)
class Gate:
    """``metric`` of ``stage`` (for ``target``, if the stage runs per target) must be at least / at most ``limit``.

    confidence: one-sided; None judges the measured value itself. waive: the user's reason to let a miss through, always shown.
    inherited: the recipe's key this bound stands under, where it is asked of another step than it is written for.
    """

    stage: str
    target: str | None
    metric: str
    bound: Literal["min", "max"]
    limit: float
    confidence: float | None = None
    waive: str | None = None
    inherited: str | None = None

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.bound == "min" else value <= self.limit


@dataclass(frozen=True)
class Judgement:
    """A gate with the verdict on it and why. n_needed: images or queries that would settle an INCONCLUSIVE one, if any would."""

    gate: Gate
    verdict: Verdict
    why: str
    measurement: Measurement | None = None
    n_needed: int | None = None

    def as_json(self) -> dict[str, Any]:
        measured, gate = self.measurement.as_json() if self.measurement else {}, self.gate
        return {
            "metric": gate.metric,
            **({"target": gate.target} if gate.target else {}),
            "bound": gate.bound,
            "limit": gate.limit,
            "value": measured.get("value"),
            "low": measured.get("low"),
            "high": measured.get("high"),
            **({"confidence": gate.confidence} if gate.confidence is not None else {}),
            **({"inherited": gate.inherited} if gate.inherited is not None else {}),
            **({"n_needed": self.n_needed} if self.n_needed is not None else {}),
            "verdict": self.verdict.value,
            "why": self.why,
        }


def judge(gate: Gate, measurement: Measurement | None) -> Judgement:
    """The verdict of one gate on one measurement. Never PASS or WAIVED for a missing, NaN or infinite value, or n = 0."""
    verdict, why, n_needed = _verdict(gate, measurement)
    a_number = measurement is not None and measurement.value is not None and math.isfinite(measurement.value)
    if gate.waive is not None and a_number and verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        verdict, why = Verdict.WAIVED, f"{why}; waived: {gate.waive}"
    return Judgement(gate, verdict, why, measurement, n_needed)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for many: FAIL beats INCONCLUSIVE beats NOT_MEASURED beats PASS and WAIVED; of nothing, NOT_MEASURED."""
    seen = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_MEASURED, Verdict.PASS, Verdict.WAIVED):
        if verdict in seen:
            return verdict
    return Verdict.NOT_MEASURED


def _verdict(gate: Gate, measurement: Measurement | None) -> tuple[Verdict, str, int | None]:
    if measurement is None or measurement.n <= 0:
        return Verdict.NOT_MEASURED, "not measured", None
    if measurement.value is None:
        odd = next((reason for reason in measurement.suspect if "value was" in reason), None)
        return (Verdict.INCONCLUSIVE, odd, None) if odd else (Verdict.NOT_MEASURED, "not measured", None)
    value = measurement.value
    if not math.isfinite(value):
        return Verdict.INCONCLUSIVE, f"the measured value is {value}", None
    if not all(math.isfinite(one) for one in measurement.rounds):
        return Verdict.INCONCLUSIVE, "a round was measured as no finite number", None
    if measurement.suspect:
        return Verdict.INCONCLUSIVE, "suspect conditions: " + "; ".join(measurement.suspect), None
    if measurement.n_needed is not None:
        why = f"{measurement.n} queries in {len(measurement.rounds)} rounds are too few, {measurement.n_needed} are needed"
        return Verdict.INCONCLUSIVE, why, measurement.n_needed
    if gate.confidence is None:
        good = gate.holds(value)
        return (Verdict.PASS, "holds", None) if good else (Verdict.FAIL, "does not hold", None)
    return _with_confidence(gate, measurement, value, gate.confidence)


def _with_confidence(gate: Gate, measurement: Measurement, value: float, confidence: float) -> tuple[Verdict, str, int | None]:
    percent = f"{100 * confidence:g} % confidence"
    if measurement.rounds:
        rounds, needed = len(measurement.rounds), max(LEAST_ROUNDS, math.ceil(math.log2(1 / (1 - confidence)) - 1e-9))
        if rounds < needed:
            why = f"{rounds} rounds do not reach {percent}, {needed} do"
            return Verdict.INCONCLUSIVE, why, measurement.n // rounds * needed
        bounds: tuple[float, float] | None = (min(measurement.rounds), max(measurement.rounds))
    else:
        bounds = _one_sided(measurement, confidence, measurement.n)
    if bounds is None:
        return Verdict.INCONCLUSIVE, f"no interval was measured, so {percent} cannot be reached", None
    low, high = bounds
    if gate.holds(low) and gate.holds(high):
        return Verdict.PASS, f"holds at {percent}", None
    if not gate.holds(low) and not gate.holds(high):
        return Verdict.FAIL, f"does not hold at {percent}", None
    n_needed = _n_that_settles(gate, measurement, confidence)
    more = f"{n_needed} would settle it if the rates stay as they are" if n_needed else "no number of them would settle it"
    things = "rounds differ too much" if measurement.rounds else f"{measurement.n} images cannot settle it, {more}"
    return Verdict.INCONCLUSIVE, f"the bound lies inside [{low:.4g}, {high:.4g}] at {percent}: {things}", n_needed


def _one_sided(measurement: Measurement, confidence: float, n: int) -> tuple[float, float] | None:
    """Lower and upper one-sided bounds at ``confidence``, as if the same rates had been seen on n images."""
    z, scale = NormalDist().inv_cdf(confidence), n / measurement.n
    match [round(count * scale) for count in measurement.counts]:
        case [hits]:
            return wilson_interval(min(hits, n), n, z)
        case [lost, won]:
            return bonett_price_interval(lost, min(won, n - lost), n, z)
        case _:
            return None


def _n_that_settles(gate: Gate, measurement: Measurement, confidence: float) -> int | None:
    """The least n (to a percent or so) at which the same rates put the bound outside the interval; None if none does."""
    if not measurement.counts or measurement.value == gate.limit:
        return None

    def settled(n: int) -> bool:
        low, high = _one_sided(measurement, confidence, n) or (-math.inf, math.inf)
        return gate.holds(low) == gate.holds(high)

    n = measurement.n
    while not settled(n):
        n *= 2
        if n > MOST_N:
            return None
    too_few, enough = n // 2, n
    while enough - too_few > max(1, too_few // 100):
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if settled(middle) else (middle, enough)
    return enough
