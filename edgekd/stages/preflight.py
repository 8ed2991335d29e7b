"""Preflight: time the untrained student on the target, before anything trains: what no training can change is known already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd import targets
from edgekd.core import Measurement, Outcome
from edgekd.stages.context import Context
from edgekd.stages.latency import Rounds, keep_timing, times, timing_facts
from edgekd.stages.on_target import files_for, plan_of, resolved, say_removed

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
        files = files_for(target, before["identity"], sketch)
        name, path = next(iter(files.items()))
        made = device.build(files)
        built, models = made[name], {precision: one.file for precision, one in made.items()}
        suspect: tuple[str, ...] = ()
        timed = {**device.measure({name: models[name]}, example, GLANCE), "set_aside": []}
        bound = context.recipe.tightest_latency(target.name)
        cut_short = bound is not None and min(timed["rounds"][name][0]) > OUT_OF_REACH * bound.limit
        if not cut_short:
            timed, suspect = targets.measure_calmly(device, models, example, plan, attempts=ATTEMPTS, pause_s=PAUSE_S)
    names = {precision: file.name for precision, file in files.items()}
    facts = {"model": path.name, "weights": "untrained"}
    while_timed = {**facts, **timing_facts(target, before["identity"], timed)}
    return Outcome(
        keep_timing(context, before, timed, suspect),
        (
            *([] if cut_short else _own(times(name, names, timed, suspect, while_timed))),
            _fastest(timed["rounds"][name], while_timed),
            Measurement("size_mb", built.size_mb, "MB", 1, conditions=facts),
            *_peak(built.peak_memory_mb, {**facts, "of": "the whole process"}),
        ),
        {"model": path.name, "suspect": list(suspect), "cut_short": cut_short, **say_removed(context, made)},
    )


def _fastest(rounds: Rounds, facts: Mapping[str, Any]) -> Measurement:
    queries = [ms for one in rounds for ms in one]
    return Measurement("latency_ms.fastest", min(queries), "ms", len(queries), conditions={"of": "all queries", **facts})


def _own(measured: Sequence[Measurement]) -> Iterator[Measurement]:
    """Its own latency and the ratios: how long the yardsticks take is the benchmark's to tell."""
    return (one for one in measured if not one.name.startswith("latency_ms_"))


def _peak(megabytes: float | None, facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """None where the device does not tell."""
    return () if megabytes is None else (Measurement("peak_memory_mb", megabytes, "MB", 1, conditions=facts),)
