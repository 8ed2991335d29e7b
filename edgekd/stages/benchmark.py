"""Benchmark: accuracy on the test images and latency of the built model, on the target, against fp32 in the same runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import data, targets
from edgekd.core import Measurement, Outcome, paired_drop, share
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.latency import Rounds, keep_timing, latencies, speedup, throughput
from edgekd.stages.on_target import model_for, plan_of, resolved
from edgekd.stages.signal import parity


def run(context: Context) -> Outcome:
    """Makes latencies.json, conditions.json and the logits; measures accuracy, latency, speedup and parity on the target.

    parity: the session the app runs against every node as written, in the same runtime.
    """
    target, export, images = resolved(context), context.input("export"), open_images(context)
    with targets.connect(target, context.reach) as device:
        before = device.probe()
        name, path = model_for(target, before["identity"], export)
        models = {name: path, "fp32": export.path("fp32")}
        context.say({"done": 0, "total": 3, "note": f"{len(images.test)} test images"})
        logits = {model: _logits(device, file, images, optimised=True) for model, file in models.items()}
        as_written = _logits(device, path, images, optimised=False)
        context.say({"done": 1, "total": 3, "note": "timing single queries"})
        example = data.model_inputs(images.test[:1], images.preprocessing)
        timed, suspect = targets.measure_calmly(device, models, example, plan_of(context, "benchmark"))
    facts = {"model": path.name, "threads": target.threads, "batch": 1}
    measurements = (
        *accuracies(name, logits, images.test.labels),
        *_times(name, timed["rounds"], suspect, facts),
        *parity("parity", as_written, logits[name], images="test", reference="onnxruntime, every node as written"),
    )
    for model, values in logits.items():
        np.save(context.folder / f"logits-{model}.npy", values)
    artifacts = [context.keep(f"logits_{model}", context.folder / f"logits-{model}.npy") for model in logits]
    artifacts += keep_timing(context, before, timed, suspect)
    return Outcome(tuple(artifacts), measurements, {"model": path.name, "suspect": list(suspect)})


def _logits(device: targets.Connection, model: Path, images: data.Dataset, *, optimised: bool) -> NDArray[np.float32]:
    """Of the test images, float32 [N, classes]."""
    chunks = data.input_chunks(images.test, images.preprocessing)
    return np.concatenate([device.infer(model, chunk, optimised=optimised) for chunk in chunks])


def accuracies(name: str, logits: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> tuple[Measurement, ...]:
    """top1 of the target's model, top1_fp32 through the same runtime, and their paired difference where they are two models."""
    right_here, right_fp32 = right(logits[name], labels), right(logits["fp32"], labels)
    drop = [paired_drop("top1_drop", right_fp32, right_here, images="test", against="fp32 in the same runtime")]
    return (
        share("top1", right_here, images="test"),
        share("top1_fp32", right_fp32, images="test"),
        *(drop if name != "fp32" else []),
    )


def _times(name: str, rounds: Mapping[str, Rounds], suspect: Sequence[str], facts: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """latency_ms and throughput; for a quantized model also speedup, and the fp32 latencies behind it."""
    own = (*latencies("latency_ms", rounds[name], suspect, facts), throughput(rounds[name], suspect, facts))
    if name == "fp32":
        return own
    fp32 = latencies("latency_ms_fp32", rounds["fp32"], suspect, {**facts, "model": "student.fp32.onnx"})
    return (*own, *fp32, speedup(rounds["fp32"], rounds[name], suspect, facts))
