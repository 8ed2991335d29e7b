"""A bound that a rung misses, in words: by how much, and what would hold."""

from __future__ import annotations

import math
from typing import Any

from edgekd.core import Gate, Judgement, Verdict
from edgekd.pipeline.judging import FASTEST


def asked(judged: Judgement) -> str:
    """Of whom, and what."""
    return f"{judged.gate.target} {judged.gate.metric}"


def _unit(gate: Gate) -> str:
    return "ms" if gate.metric.startswith("latency_ms") else "MB"


def missed(judged: Judgement) -> str:
    """By how much, or why it is not decided."""
    value, gate = judged.measurement.value if judged.measurement else None, judged.gate
    if judged.verdict is Verdict.FAIL and value is not None:
        shown, limit = _apart(value, gate.limit)
        return f" {shown} {_unit(gate)} > {limit}"
    return f": {judged.why}"


def would(judged: Judgement, margin: float) -> dict[str, Any]:
    """What a missed bound says of the smallest rung: by how much it misses, and the bound of the recipe that it would hold."""
    one, gate = judged.measurement, judged.gate
    value = one.value if one is not None and one.value is not None else math.nan
    edge = max(one.rounds) if one is not None and one.rounds and gate.confidence is not None else value
    return {
        "target": gate.target,
        "metric": gate.metric,
        "bound": gate.inherited,
        "value": value,
        "limit": gate.limit,
        "times": value / gate.limit if gate.limit else None,
        "would_hold": _rounded_up(edge / (1 - margin)),
        "at_least": gate.metric == FASTEST,
    }


def needs(judged: Judgement, margin: float) -> str:
    """The same as a sentence."""
    told, unit = would(judged, margin), _unit(judged.gate)
    better = "times as fast" if unit == "ms" else "times as small"
    must = f"must be {told['times']:.2f} {better}" if told["times"] else "cannot"
    least = "more than " if told["at_least"] else ""
    value, limit = _apart(told["value"], told["limit"])
    return (
        f"{asked(judged)} {value} {unit} where {limit} is asked: it {must};"
        f" {told['bound']} would have to be {least}{told['would_hold']:g}"
    )


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Both with three digits, or as many as tell them apart."""
    shown = [(f"{value:.{digits}g}", f"{limit:.{digits}g}") for digits in (3, 4, 5, 6, 17)]
    return next((one for one in shown if one[0] != one[1]), shown[-1])


def _rounded_up(value: float) -> float:
    """To three digits, never below the value."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return float(f"{math.ceil(value / step - 1e-9) * step:.3g}")
