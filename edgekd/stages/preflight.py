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
ROUND_S, ATTEMPTS, PAUSE_S = 0.2, 2, 1.0


def run(context: Context) -> Outcome:
    """Makes latencies.json and conditions.json; measures latency_ms, speedup, size_mb and peak_memory_mb of the sketch.

    latency_ms.fastest is the fastest of all timed queries: other work on the device slows queries, and never hastens one.
    """
    target, sketch = resolved(context), context.input("sketch")
    plan = replace(plan_of(context, "preflight"), round_s=ROUND_S)
    example = np.load(sketch.path("example"), allow_pickle=False)
    with targets.connect(target) as device:
        before = device.probe()
        name, path = model_for(target, before["identity"], sketch)
        built = device.build({name: path})[name]
        models = {name: path, "fp32": sketch.path("fp32")}
        timed, suspect = targets.measure_calmly(device, models, example, plan, attempts=ATTEMPTS, pause_s=PAUSE_S)
    facts = {"model": path.name, "weights": "untrained"}
    timing_facts = {**facts, "threads": target.threads, "batch": 1}
    return Outcome(
        keep_timing(context, before, timed, suspect),
        (
            *_times(name, timed["rounds"], suspect, timing_facts),
            Measurement("size_mb", built["size_mb"], "MB", 1, conditions=facts),
            Measurement("peak_memory_mb", built["peak_memory_mb"], "MB", 1, conditions={**facts, "of": "the whole process"}),
        ),
        {"model": path.name, "suspect": list(suspect)},
    )


def _times(name: str, rounds: Mapping[str, Rounds], suspect: Sequence[str], facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    queries = [ms for one in rounds[name] for ms in one]
    fastest = Measurement("latency_ms.fastest", min(queries), "ms", len(queries), conditions={"of": "all queries", **facts})
    times = (*latencies("latency_ms", rounds[name], suspect, facts), fastest)
    return times if name == "fp32" else (*times, speedup(rounds["fp32"], rounds[name], suspect, facts))
