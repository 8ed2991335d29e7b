"""Benchmark: accuracy on the test images and latency of what was built, on the target, against its yardsticks there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import data, targets
from edgekd.core import Measurement, Outcome, paired_drop, share
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.latency import keep_timing, power_of, slower_than_float, throughput, times, timing_facts
from edgekd.stages.logits import logits_of
from edgekd.stages.on_target import files_for, plan_of, resolved, what_runs
from edgekd.stages.signal import parity
from edgekd.stages.waterfall import Execution, waterfall


def run(context: Context) -> Outcome:
    """Makes latencies.json, conditions.json and the logits; measures accuracy, latency, speedup and parity on the target.

    parity: what the app runs against onnxruntime running every node of the same ONNX file as written; on the target where
    that runs onnxruntime, else here. The note "waterfall" parts top1_drop there (``stages.waterfall``); inner
    tensors are compared by export, and an engine does not show its own.
    """
    target, export, images = resolved(context), context.input("export"), open_images(context)
    with targets.connect(target, context.reach) as device:
        before = device.probe()
        identity = before["identity"]
        files = files_for(target, identity, export)
        runs = what_runs(target, identity, export, context.input("build"))
        name = next(iter(runs))
        tested = _tested(images.test, device.most_images())
        context.say({"done": 0, "total": 3, "note": f"{len(tested)} test images"})
        compared = {one: runs[one] for one in dict.fromkeys((name, "fp32"))}
        logits = {
            one: logits_of(device, path, tested, images.preprocessing, kept=context.checkpoint, say=context.say)
            for one, path in compared.items()
        }
        context.say({"done": 1, "total": 3, "note": "timing single queries"})
        example = data.model_inputs(tested[:1], images.preprocessing)
        timed, suspect = targets.measure_calmly(device, runs, example, plan_of(context, "benchmark"))
        context.say({"done": 2, "total": 3, "note": "comparing with every node run as written"})
        as_written = _as_written(device, target, files[name], tested, images.preprocessing)
    facts = {"model": runs[name].name, **timing_facts(target, identity, timed)}
    measurements = (
        *accuracies(name, logits, tested.labels),
        *times(name, {one: path.name for one, path in runs.items()}, timed, suspect, facts),
        throughput(timed["rounds"][name], suspect, facts),
        *power_of(timed.get("power", {}).get(name), facts),
        *parity("parity", as_written, logits[name], images="test", reference="onnxruntime, every node as written"),
    )
    for model, values in logits.items():
        np.save(context.folder / f"logits-{model}.npy", values)
    artifacts = [context.keep(f"logits_{model}", context.folder / f"logits-{model}.npy") for model in logits]
    artifacts += keep_timing(context, before, timed, suspect)
    fell = _waterfall(target, files[name], logits, as_written, tested.labels, name)
    notes = {"model": runs[name].name, "suspect": list(suspect), "waterfall": fell, **slower_than_float(name, measurements)}
    return Outcome(tuple(artifacts), measurements, notes)


def _tested(test: data.Split, most: int | None) -> data.Split:
    """The test images, or as many as the device can be asked in good time, the same share of every class."""
    return test if most is None or len(test) <= most else test[data.spread_over_classes(test.labels, most)]


def _as_written(
    device: targets.Connection, target: targets.Target, model: Path, images: data.Split, preprocessing: data.Preprocessing
) -> NDArray[np.float32]:
    if target.runs_as_written:
        return logits_of(device, model, images, preprocessing, optimised=False)
    with targets.this_machine() as here:
        return logits_of(here, model, images, preprocessing, optimised=False)


def _waterfall(
    target: targets.Target, model: Path, logits: Mapping[str, NDArray[np.float32]], as_written: NDArray[np.float32],
    labels: NDArray[np.int64], name: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """From fp32 on the target, where that is another model, to what the app runs."""
    runs = f"{name} as the app runs it" if name != "fp32" else "as the app runs it"
    executions = [
        Execution("onnxruntime, every node as written", as_written),
        Execution(f"{target.runtime}, {runs}", logits[name]),
    ]
    if name != "fp32":
        executions.insert(0, Execution(f"{target.runtime}, fp32", logits["fp32"]))
    return [waterfall(model.name.removeprefix("student.").removesuffix(".onnx"), "test", labels, executions)]


def accuracies(name: str, logits: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> tuple[Measurement, ...]:
    """top1 of the target's model, top1_fp32 through the same runtime, and their paired difference where they are two models."""
    right_here, right_fp32 = right(logits[name], labels), right(logits["fp32"], labels)
    drop = [paired_drop("top1_drop", right_fp32, right_here, images="test", against="fp32 in the same runtime")]
    return (
        share("top1", right_here, images="test"),
        share("top1_fp32", right_fp32, images="test"),
        *(drop if name != "fp32" else []),
    )
