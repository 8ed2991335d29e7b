"""Benchmark: accuracy on the test images and latency of the built model, on the target, against fp32 in the same runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import data, targets
from edgekd.core import Measurement, Outcome, over_rounds, paired_drop, percentile_over_rounds, share
from edgekd.core.statistics import percentile_by_rank
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.on_target import model_for, resolved
from edgekd.stages.signal import parity

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def run(context: Context) -> Outcome:
    """Makes latencies.json, conditions.json and the logits; measures accuracy, latency, speedup and parity on the target.

    parity: the session the app runs against every node as written, in the same runtime.
    """
    target, export, images = resolved(context), context.input("export"), open_images(context)
    inputs = data.model_inputs(images.test, images.preprocessing)
    with targets.connect(target) as device:
        before = device.probe()
        name, path = model_for(target, before["identity"], export)
        models = {name: path, "fp32": export.path("fp32")}
        context.say({"done": 0, "total": 3, "note": f"{len(inputs)} test images"})
        logits = {model: device.infer(file, inputs) for model, file in models.items()}
        as_written = device.infer(path, inputs, optimised=False)
        context.say({"done": 1, "total": 3, "note": "timing single queries"})
        plan = targets.plan_for(context.recipe.gates_of("benchmark", target.name))
        timed, suspect = targets.measure_calmly(device, models, inputs[:1], plan)
    facts = {"model": path.name, "threads": target.threads, "batch": 1}
    measurements = (
        *accuracies(name, logits, images.test.labels),
        *latencies("latency_ms", timed["rounds"][name], suspect, facts),
        *_against_fp32(name, timed["rounds"], suspect, facts),
        *parity("parity", as_written, logits[name], images="test", reference="onnxruntime, every node as written"),
    )
    for model, values in logits.items():
        np.save(context.folder / f"logits-{model}.npy", values)
    artifacts = [context.keep(f"logits_{model}", context.folder / f"logits-{model}.npy") for model in logits]
    artifacts.append(context.keep_json("latencies", {"models": timed["rounds"]}))
    artifacts.append(
        context.keep_json(
            "conditions",
            {"probe": before, "timing": timed["conditions"], "suspect": list(suspect), "set_aside": timed["set_aside"]},
        )
    )
    return Outcome(tuple(artifacts), measurements, {"model": path.name, "suspect": list(suspect)})


def accuracies(name: str, logits: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> tuple[Measurement, ...]:
    """top1 of the target's model, top1_fp32 through the same runtime, and their paired difference where they are two models."""
    right_here, right_fp32 = right(logits[name], labels), right(logits["fp32"], labels)
    drop = [paired_drop("top1_drop", right_fp32, right_here, images="test", against="fp32 in the same runtime")]
    return (
        share("top1", right_here, images="test"),
        share("top1_fp32", right_fp32, images="test"),
        *(drop if name != "fp32" else []),
    )


def latencies(
    group: str, rounds_ms: Sequence[Sequence[float]], suspect: Sequence[str], facts: Mapping[str, Any]
) -> tuple[Measurement, ...]:
    """p50, p90 and p99 of single queries, each with the rounds' spread."""
    measured = [percentile_over_rounds(f"{group}.{name}", rounds_ms, q, **facts) for name, q in PERCENTILES.items()]
    return tuple(_suspected(one, suspect) for one in measured)


def _against_fp32(
    name: str, rounds: Mapping[str, Sequence[Sequence[float]]], suspect: Sequence[str], facts: Mapping[str, Any]
) -> tuple[Measurement, ...]:
    """throughput; and for a quantized model the fp32 latencies and the ratio of the rounds' medians."""
    queries = sum(len(one) for one in rounds[name])
    throughput = over_rounds("throughput", [1000 * len(one) / sum(one) for one in rounds[name]], "1/s", queries, **facts)
    if name == "fp32":
        return (_suspected(throughput, suspect),)
    pairs = zip(rounds["fp32"], rounds[name], strict=True)
    ratios = [percentile_by_rank(slow, 0.5) / percentile_by_rank(fast, 0.5) for slow, fast in pairs]
    speedup = over_rounds("speedup", ratios, "ratio", queries, against="fp32 in the same runtime", of="p50", **facts)
    fp32 = latencies("latency_ms_fp32", rounds["fp32"], suspect, {**facts, "model": "student.fp32.onnx"})
    return (*fp32, _suspected(speedup, suspect), _suspected(throughput, suspect))


def _suspected(measurement: Measurement, suspect: Sequence[str]) -> Measurement:
    return replace(measurement, suspect=(*measurement.suspect, *suspect))
