"""Latency: from the single queries a target timed, round by round, to measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgekd.core import Artifact, Measurement, over_rounds, percentile_over_rounds
from edgekd.core.statistics import percentile_by_rank
from edgekd.stages.context import Context

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
Rounds = Sequence[Sequence[float]]  # milliseconds of every query, by round


def latencies(group: str, rounds_ms: Rounds, suspect: Sequence[str], facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """p50, p90 and p99 of single queries, each with the rounds' spread."""
    measured = [percentile_over_rounds(f"{group}.{name}", rounds_ms, q, **facts) for name, q in PERCENTILES.items()]
    return tuple(suspected(one, suspect) for one in measured)


def speedup(fp32_ms: Rounds, model_ms: Rounds, suspect: Sequence[str], facts: Mapping[str, Any]) -> Measurement:
    """How many times faster than fp32 in the same runtime: the ratio of each round's medians."""
    pairs = zip(fp32_ms, model_ms, strict=True)
    ratios = [percentile_by_rank(slow, 0.5) / percentile_by_rank(fast, 0.5) for slow, fast in pairs]
    queries = sum(len(one) for one in model_ms)
    measured = over_rounds("speedup", ratios, "ratio", queries, against="fp32 in the same runtime", of="p50", **facts)
    return suspected(measured, suspect)


def throughput(rounds_ms: Rounds, suspect: Sequence[str], facts: Mapping[str, Any]) -> Measurement:
    """Single queries a second, one after the other."""
    queries = sum(len(one) for one in rounds_ms)
    measured = over_rounds("throughput", [1000 * len(one) / sum(one) for one in rounds_ms], "1/s", queries, **facts)
    return suspected(measured, suspect)


def suspected(measurement: Measurement, suspect: Sequence[str]) -> Measurement:
    """The same number, with the reasons why its conditions make it inconclusive."""
    return replace(measurement, suspect=(*measurement.suspect, *suspect))


def keep_timing(
    context: Context, probe: Mapping[str, Any], timed: Mapping[str, Any], suspect: Sequence[str]
) -> tuple[Artifact, ...]:
    """latencies.json, every query; conditions.json, what the device said before, between and after.

    timed, suspect: as ``targets.measure_calmly`` gave them. probe: of the device before.
    """
    conditions = {"probe": probe, "timing": timed["conditions"], "suspect": list(suspect), "set_aside": timed["set_aside"]}
    return context.keep_json("latencies", {"models": timed["rounds"]}), context.keep_json("conditions", conditions)
