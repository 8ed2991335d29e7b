"""Export: one float export, a pure graph pass for each flavour; measure that onnxruntime computes what torch does."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgekd import data, export, models, quant, targets
from edgekd.core import EdgekdError, Measurement, Outcome, paired_drop, share
from edgekd.stages.accuracy import right
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import held_out_logits
from edgekd.stages.signal import parity, sqnr

_COMPUTES = {"fp16": "fp32", "trt-fp16": "trt"}  # what these are but for float16's rounding
_NOTED = 100  # images; a CPU takes four times as long for float16


def run(context: Context) -> Outcome:
    """Makes student.<flavour>.onnx and layers.json; measures parity (of the worst int8 flavour), parity_fp32, quantize_static.*.

    The reference of an int8 file is its simulation in torch, against onnxruntime with every node run as written. How float16
    parts from it is noted, not judged: what a device makes of float16 is its own.
    """
    set_up(context.recipe)
    images, quantize = open_images(context), context.input("quantize")
    network = models.load_saved(context.input("distill").path("student"))
    sites = json.loads(quantize.path("sites").read_text())
    quantized = quant.restore(network, models.load_state(quantize.path("student")), sites)
    flavours = targets.flavours_of(context.recipe.targets)
    context.say({"done": 0, "total": 3, "note": "exporting"})
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    oldest = targets.oldest_tensorrt(context.recipe.targets)
    paths = export.write(marked, quantized.state_dict(), sites, context.folder, flavours, oldest)
    context.say({"done": 1, "total": 3, "note": "comparing torch and onnxruntime"})
    inputs = np.concatenate([batch.numpy() for batch, _ in data.eval_batches(images.held_out, images.preprocessing)])
    logits = {
        name: held_out_logits(context, quantized.floating() if name == "fp32" else quantized.simulate(name))
        for name in paths
        if name not in _COMPUTES
    }
    measured: dict[str, tuple[Measurement, ...]] = {}
    for name, path in paths.items():
        reference, few = logits[_COMPUTES.get(name, name)], inputs[: _NOTED if name in _COMPUTES else None]
        found = export.run_onnx(path, few, optimised=False)
        group = "parity_fp32" if name == "fp32" else "parity"
        measured[name] = parity(group, reference[: len(found)], found, flavour=name, images="held-out")
    int8 = [group for name, group in measured.items() if name in targets.INT8_FLAVOURS]
    worst = tuple(_worst(column) for column in zip(*int8, strict=True))
    artifacts = [context.keep(name, path) for name, path in paths.items()]
    artifacts.append(context.keep_json("layers", export.layers(marked, sites, flavours)))
    every = {name: {one.name.partition(".")[2]: one.as_json()["value"] for one in group} for name, group in measured.items()}
    context.say({"done": 2, "total": 3, "note": "measuring onnxruntime's own quantization beside it"})
    yardstick, why_not = _yardstick(context, paths["fp32"], inputs)
    return Outcome(tuple(artifacts), (*worst, *measured["fp32"], *yardstick), {"parity": every, **why_not})


def _yardstick(context: Context, fp32: Path, inputs: NDArray[np.float32]) -> tuple[tuple[Measurement, ...], dict[str, str]]:
    """What onnxruntime's own tool makes of the float file with the same calibration images; or a note why it makes nothing of it.

    quantize_static.top1, .top1_drop (against the fp32 file) and .sqnr_db on the held-out images, run as a user of it would.
    """
    images, ran = open_images(context), {"images": "held-out", "ran": "onnxruntime, optimised"}
    calibration = data.model_inputs(images.calibration(context.recipe.quantize.calibration_images), images.preprocessing)
    with TemporaryDirectory(dir=context.folder) as place:
        try:
            stock = export.stock_int8(fp32, calibration, Path(place) / "quantize_static.onnx")
        except EdgekdError as error:
            return (), {"quantize_static": str(error)}
        found, reference = (export.run_onnx(path, inputs, optimised=True) for path in (stock, fp32))
    right_int8, right_fp32 = (right(logits, images.held_out.labels) for logits in (found, reference))
    return (
        share("quantize_static.top1", right_int8, **ran),
        paired_drop("quantize_static.top1_drop", right_fp32, right_int8, against="fp32 student", **ran),
        Measurement("quantize_static.sqnr_db", sqnr(reference, found), "dB", len(inputs), conditions=ran),
    ), {}


def _worst(measurements: tuple[Measurement, ...]) -> Measurement:
    """The worst of the flavours: the largest max_abs, the least of the others; a value that is not finite is worst of all."""
    sign = -1.0 if measurements[0].name.endswith("max_abs") else 1.0
    return min(measurements, key=lambda one: sign * one.value if one.value is not None and np.isfinite(one.value) else -np.inf)
