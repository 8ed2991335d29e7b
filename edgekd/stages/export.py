"""Export: one float export, a pure graph pass for each flavour; measure that onnxruntime computes what torch does."""

from __future__ import annotations

import json

import numpy as np

from edgekd import data, export, models, quant, targets
from edgekd.core import Measurement, Outcome
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import held_out_logits
from edgekd.stages.signal import parity

_COMPUTES = {"fp16": "fp32", "trt-fp16": "trt"}  # what these are but for float16's rounding


def run(context: Context) -> Outcome:
    """Makes student.<flavour>.onnx and layers.json; measures parity (of the worst int8 flavour) and parity_fp32.

    The reference of an int8 file is its simulation in torch, against onnxruntime with every node run as written. How float16
    parts from it is noted, not judged: what a device makes of float16 is its own.
    """
    set_up(context.recipe)
    images, quantize = open_images(context), context.input("quantize")
    network = models.load_saved(context.input("distill").path("student"))
    sites = json.loads(quantize.path("sites").read_text())
    quantized = quant.restore(network, models.load_state(quantize.path("student")), sites)
    flavours = targets.flavours_of(context.recipe.targets)
    context.say({"done": 0, "total": 2, "note": "exporting"})
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    oldest = targets.oldest_tensorrt(context.recipe.targets)
    paths = export.write(marked, quantized.state_dict(), sites, context.folder, flavours, oldest)
    context.say({"done": 1, "total": 2, "note": "comparing torch and onnxruntime"})
    inputs = np.concatenate([batch.numpy() for batch, _ in data.eval_batches(images.held_out, images.preprocessing)])

    logits = {
        name: held_out_logits(context, quantized.floating() if name == "fp32" else quantized.simulate(name))
        for name in paths
        if name not in _COMPUTES
    }
    measured: dict[str, tuple[Measurement, ...]] = {}
    for name, path in paths.items():
        reference, found = logits[_COMPUTES.get(name, name)], export.run_onnx(path, inputs, optimised=False)
        group = "parity_fp32" if name == "fp32" else "parity"
        measured[name] = parity(group, reference, found, flavour=name, images="held-out")
    int8 = [group for name, group in measured.items() if name in targets.INT8_FLAVOURS]
    worst = tuple(_worst(column) for column in zip(*int8, strict=True))
    artifacts = [context.keep(name, path) for name, path in paths.items()]
    artifacts.append(context.keep_json("layers", export.layers(marked, sites, flavours)))
    every = {name: {one.name.partition(".")[2]: one.as_json()["value"] for one in group} for name, group in measured.items()}
    return Outcome(tuple(artifacts), (*worst, *measured["fp32"]), {"parity": every})


def _worst(measurements: tuple[Measurement, ...]) -> Measurement:
    """The worst of the flavours: the largest max_abs, the least of the others; a value that is not finite is worst of all."""
    sign = -1.0 if measurements[0].name.endswith("max_abs") else 1.0
    return min(measurements, key=lambda one: sign * one.value if one.value is not None and np.isfinite(one.value) else -np.inf)
