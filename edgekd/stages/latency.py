"""Latency: from the single queries a target timed, round by round, to measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from edgekd import targets
from edgekd.core import Artifact, Measurement, over_rounds, percentile_over_rounds
from edgekd.core.statistics import percentile_by_rank
from edgekd.stages.context import Context
from edgekd.targets import UNEVEN

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
YARDSTICKS = {"fp32": "speedup", "fp16": "speedup_fp16"}  # and the name of the ratio to each
Rounds = Sequence[Sequence[float]]  # milliseconds of every query, by round


def latencies(group: str, rounds_ms: Rounds, suspect: Sequence[str], facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """p50, p90 and p99 of single queries, each with the rounds' spread."""
    measured = [percentile_over_rounds(f"{group}.{name}", rounds_ms, q, **facts) for name, q in PERCENTILES.items()]
    return tuple(suspected(one, suspect) for one in measured)


def timing_facts(target: targets.Target, identity: Mapping[str, Any], timed: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions of what was timed in one go. identity: of the device before; timed: as ``targets.measure_calmly`` gave it."""
    labels = targets.labels(identity, timed)
    return {"threads": target.threads, "batch": 1, **timed.get("facts", {}), **({"labels": list(labels)} if labels else {})}


def times(
    name: str, models: Mapping[str, str], timed: Mapping[str, Any], suspect: Sequence[str], facts: Mapping[str, Any]
) -> tuple[Measurement, ...]:
    """latency_ms of ``name``; for each yardstick that was timed beside it latency_ms_<yardstick>, and how much faster it is.

    models: the names of the files, by precision, as in ``timed``, which ``targets.measure_calmly`` gave. speedup is against
    fp32, speedup_fp16 against fp16.
    """
    rounds, own = timed["rounds"], {**facts, "model": models[name]}
    measured = [*latencies("latency_ms", rounds[name], suspect, own)]
    for yardstick in (one for one in YARDSTICKS if one in rounds and one != name):
        measured += latencies(f"latency_ms_{yardstick}", rounds[yardstick], suspect, {**facts, "model": models[yardstick]})
        ratio, against = YARDSTICKS[yardstick], f"{yardstick} in the same runtime"
        measured.append(speedup(ratio, timed, yardstick, name, suspect, {"against": against, **own}))
    return tuple(measured)


def speedup(
    name: str, timed: Mapping[str, Any], slow: str, fast: str, suspect: Sequence[str], facts: Mapping[str, Any]
) -> Measurement:
    """How many times faster ``fast`` is than ``slow`` that was timed beside it: of each round, the median over its turns of the
    ratio of two blocks' medians. Within a turn the two were disturbed alike; a round as a whole may be half in a disturbance."""
    rounds = zip(timed["rounds"][slow], timed["rounds"][fast], timed["turns"], strict=True)
    ratios = [median(map(_ratio, _turns(one, turns), _turns(other, turns))) for one, other, turns in rounds]
    queries = sum(len(one) for one in timed["rounds"][fast])
    return suspected(over_rounds(name, ratios, "ratio", queries, of="p50", **facts), suspect)


def _turns(round_ms: Sequence[float], turns: int) -> list[Sequence[float]]:
    """A round's queries, block by block."""
    size = len(round_ms) // turns
    return [round_ms[start : start + size] for start in range(0, size * turns, size)]


def _ratio(slow_ms: Sequence[float], fast_ms: Sequence[float]) -> float:
    return percentile_by_rank(slow_ms, 0.5) / percentile_by_rank(fast_ms, 0.5)


def slower_than_float(name: str, measured: Sequence[Measurement]) -> dict[str, str]:
    """A warning where int8 is no faster than a floating-point yardstick: its accuracy was given away for nothing."""
    no_faster = [one for one in measured if one.name in YARDSTICKS.values() and one.value is not None and one.value <= 1]
    if "int8" not in name or not no_faster:
        return {}
    told = " and ".join(f"{one.conditions['against'].split()[0]} ({one.value:.2f} times its speed)" for one in no_faster)
    return {"warning": f"{name} is no faster here than {told}: ship that precision instead, or look at layers.float"}


def power_of(power: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """power_w while it computes, and energy_mj of one inference beyond idling; none where the device has no known rails.

    power: {"power_w", "idle_w", "energy_mj", "rails", "samples"}, as ``Connection.measure`` gives it.
    """
    if power is None:
        return ()
    known = {**facts, "rails": power["rails"], "idle_w": power["idle_w"]}
    return (
        Measurement("power_w", power["power_w"], "W", power["samples"], conditions=known),
        Measurement(
            "energy_mj", power["energy_mj"], "mJ", power["samples"], conditions={**known, "of": "one inference, idle off"}
        ),
    )


def throughput(rounds_ms: Rounds, suspect: Sequence[str], facts: Mapping[str, Any]) -> Measurement:
    """Single queries a second, one after the other."""
    queries = sum(len(one) for one in rounds_ms)
    measured = over_rounds("throughput", [1000 * len(one) / sum(one) for one in rounds_ms], "1/s", queries, **facts)
    return suspected(measured, suspect)


def suspected(measurement: Measurement, suspect: Sequence[str]) -> Measurement:
    """The same number, with the reasons why its conditions make it inconclusive. That times are uneven is none for a tail."""
    is_tail = measurement.name.endswith((".p90", ".p99"))
    reasons = [reason for reason in suspect if not (is_tail and reason.startswith(UNEVEN))]
    return replace(measurement, suspect=(*measurement.suspect, *reasons))


def keep_timing(
    context: Context, probe: Mapping[str, Any], timed: Mapping[str, Any], suspect: Sequence[str]
) -> tuple[Artifact, ...]:
    """latencies.json, every query; conditions.json, what the device said before, between and after.

    timed, suspect: as ``targets.measure_calmly`` gave them. probe: of the device before.
    """
    conditions = {"probe": probe, "timing": timed["conditions"], "suspect": list(suspect), "set_aside": timed["set_aside"]}
    return context.keep_json("latencies", {"models": timed["rounds"]}), context.keep_json("conditions", conditions)
