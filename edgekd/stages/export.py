"""Export: one float export, a pure graph pass for each flavour; measure that onnxruntime computes what torch does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgekd import data, export, models, quant, targets
from edgekd.core import EdgekdError, Measurement, Outcome, paired_drop, share
from edgekd.stages.accuracy import right
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.half import half_logits, overflow_of
from edgekd.stages.images import open_images
from edgekd.stages.lint import linted
from edgekd.stages.signal import parity, sqnr
from edgekd.stages.torch_waterfall import waterfalls

_COMPUTES = {"fp16": "fp32", "trt-fp16": "trt", "fp32-b1": "fp32"}  # what these are but for float16's rounding and the batch
_LOOKED_AT = 100  # images for the widest value of every op
_FEW = 32  # images; a CPU takes seven times as long in float16


def run(context: Context) -> Outcome:
    """Makes student.<flavour>.onnx, layers.json, lint.json and waterfall.json; measures parity (of the worst int8 flavour),
    parity_fp32, lint.errors, lint.warnings and quantize_static.*. The note "waterfall" has what each step from torch to the
    optimised file costs (``stages.waterfall``).

    The reference of an int8 file is its simulation in torch, against onnxruntime with every node run as written. How float16
    parts from it is noted, not judged: the worse of the file, which onnxruntime computes in float32, and of torch in half
    precision. A network that overflows float16 gets no float16 file; the note "overflow" says so. Raises InputError: a target
    is to compute in float16 what overflows it.
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
    state, inputs = quantized.state_dict(), _inputs(images)

    def beyond_half(name: str) -> str | None:
        return export.beyond_half(export.flavour(marked, state, sites, name), inputs[:_LOOKED_AT])

    overflow = overflow_of(context.recipe.targets, beyond_half)
    flavours = tuple(name for name in flavours if overflow is None or name != "fp16")
    paths = export.write(marked, state, sites, context.folder, flavours, oldest)
    context.say({"done": 1, "total": 3, "note": "comparing torch and onnxruntime"})
    measured, answers = _compared(context, quantized, paths, inputs)
    int8 = [group for name, group in measured.items() if name in targets.INT8_FLAVOURS]
    worst = tuple(_worst(column) for column in zip(*int8, strict=True))
    artifacts = [context.keep(name, path) for name, path in paths.items()]
    artifacts.append(context.keep_json("layers", export.layers(marked, sites, flavours)))
    lint, counted, complaint = linted(context, paths, oldest)
    made, inner = waterfalls(quantized, paths, answers, inputs, images.held_out.labels)
    artifacts.append(context.keep_json("waterfall", {"waterfalls": made, "inner": inner}))
    every = {name: {one.name.partition(".")[2]: one.as_json()["value"] for one in group} for name, group in measured.items()}
    context.say({"done": 2, "total": 3, "note": "measuring onnxruntime's own quantization beside it"})
    yardstick, why_not = _yardstick(context, paths["fp32"], inputs)
    return Outcome(
        (*artifacts, lint),
        (*worst, *measured["fp32"], *counted, *yardstick),
        {"parity": every, "waterfall": made, **why_not, **complaint}
        | ({"overflow": overflow} if overflow else {})
        | ({"gated": True} if export.gated(marked) else {}),
    )


def _compared(
    context: Context, quantized: quant.Quantized, paths: Mapping[str, Path], inputs: NDArray[np.float32]
) -> tuple[dict[str, tuple[Measurement, ...]], dict[str, NDArray[np.float32]]]:
    """Parity of each file with the network in torch that it shall compute; of float16, also of that network made half. And the
    logits [N,C]: those of torch by what it computes, those of the files, as written, by "<flavour>.onnx".

    What only differs in rounding or batch from another file is compared on a few images.
    """

    def network_of(name: str) -> nn.Module:
        return quantized.floating() if name == "fp32" else quantized.simulate(name)

    images = open_images(context)
    answers: dict[str, NDArray[np.float32]] = {}
    measured = {}
    for name, path in paths.items():
        computes = _COMPUTES.get(name, name)
        if computes not in answers:
            held_out = data.eval_batches(images.held_out, images.preprocessing)
            answers[computes] = models.logits(network_of(computes), held_out)
        few = inputs[: _FEW if name in _COMPUTES else None]
        found = [export.run_onnx(path, few, optimised=False)]
        answers[f"{name}.onnx"] = found[0]
        if name.endswith("fp16"):
            found.append(half_logits(network_of(computes), few))
        group = "parity_fp32" if name == "fp32" else "parity"
        compared = [parity(group, answers[computes][: len(few)], one, flavour=name, images="held-out") for one in found]
        measured[name] = tuple(_worst(column) for column in zip(*compared, strict=True))
    return measured, answers


def _inputs(images: data.Dataset) -> NDArray[np.float32]:
    return np.concatenate([batch.numpy() for batch, _ in data.eval_batches(images.held_out, images.preprocessing)])


def _yardstick(context: Context, fp32: Path, inputs: NDArray[np.float32]) -> tuple[tuple[Measurement, ...], dict[str, str]]:
    """What onnxruntime's own tool makes of the float file with the same calibration images; or a note why it makes nothing of it.

    quantize_static.top1, .top1_drop (against the fp32 file) and .sqnr_db on the held-out images, run as a user of it would.
    The condition "like" is the file of ours that it compares with, by the bits of its weights on this CPU.
    """
    images = open_images(context)
    ran = {"images": "held-out", "ran": "onnxruntime, optimised", "weight_bits": 8, "like": "ort"}
    if not export.exact_sums():
        ran |= {"ran": "onnxruntime, optimised, x64quantprecision", "weight_bits": 7, "like": "ort-w7"}
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
