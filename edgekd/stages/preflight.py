"""Preflight: time the untrained student on the target, before anything trains: what no training can change is known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd import targets
from edgekd.core import Measurement, Outcome
from edgekd.stages.context import Context
from edgekd.stages.latency import Rounds, keep_timing, latencies, speedup
from edgekd.stages.on_target import model_for, plan_of, resolved

# Less than a benchmark takes: this asks whether it is possible at all.
ROUND_S, ATTEMPTS, PAUSE_S = 0.2, 4, 2.0
# A look before that: a bound that even its fastest query misses by a quarter needs no careful measurement.
GLANCE = targets.MeasuringPlan(rounds=1, queries=50, discard=5, round_s=1.0, budget_s=5.0)
OUT_OF_REACH = 1.25


def run(context: Context) -> Outcome:
    """Makes latencies.json and conditions.json; measures latency_ms, speedup, size_mb and peak_memory_mb of the sketch.

    latency_ms.fastest is the fastest of all timed queries: other work on the device slows queries, and never hastens one.
    """
    target, sketch = resolved(context), context.input("sketch")
    plan = replace(plan_of(context, "preflight"), round_s=ROUND_S)
    example = np.load(sketch.path("example"), allow_pickle=False)
    with targets.connect(target, context.reach) as device:
        before = device.probe()
        name, path = model_for(target, before["identity"], sketch)
        built = device.build({name: path})[name]
        suspect: tuple[str, ...] = ()
        timed = {**device.measure({name: path}, example, GLANCE), "set_aside": []}
        bound = context.recipe.tightest_latency(target.name)
        cut_short = bound is not None and min(timed["rounds"][name][0]) > OUT_OF_REACH * bound.limit
        if not cut_short:
            models = {name: path, "fp32": sketch.path("fp32")}
            timed, suspect = targets.measure_calmly(device, models, example, plan, attempts=ATTEMPTS, pause_s=PAUSE_S)
    facts = {"model": path.name, "weights": "untrained"}
    timing_facts = {**facts, "threads": target.threads, "batch": 1}
    return Outcome(
        keep_timing(context, before, timed, suspect),
        (
            *([] if cut_short else _times(name, timed["rounds"], suspect, timing_facts)),
            _fastest(timed["rounds"][name], timing_facts),
            Measurement("size_mb", built.size_mb, "MB", 1, conditions=facts),
            Measurement("peak_memory_mb", built.peak_memory_mb, "MB", 1, conditions={**facts, "of": "the whole process"}),
        ),
        {"model": path.name, "suspect": list(suspect), "cut_short": cut_short},
    )


def _fastest(rounds: Rounds, facts: Mapping[str, Any]) -> Measurement:
    queries = [ms for one in rounds for ms in one]
    return Measurement("latency_ms.fastest", min(queries), "ms", len(queries), conditions={"of": "all queries", **facts})


def _times(name: str, rounds: Mapping[str, Rounds], suspect: Sequence[str], facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    times = latencies("latency_ms", rounds[name], suspect, facts)
    return times if name == "fp32" else (*times, speedup(rounds["fp32"], rounds[name], suspect, facts))
