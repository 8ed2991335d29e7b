"""Quantize: ranges from training images, int8 simulated in torch; measure what it costs against the fp32 student."""

from __future__ import annotations

from edgekd import data, models, quant
from edgekd.core import Measurement, Outcome, judge, paired_drop, share, worst
from edgekd.core.gate import Verdict
from edgekd.stages.accuracy import right
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import held_out_logits
from edgekd.stages.signal import sqnr


def run(context: Context) -> Outcome:
    """Makes student.safetensors (folded) and sites.json; measures top1, top1_drop (vs the fp32 student) and sqnr_db."""
    set_up(context.recipe)
    images, recipe = open_images(context), context.recipe
    student = models.load_saved(context.input("distill").path("student"))
    calibration = images.calibration(recipe.quantize.calibration_images)
    context.say({"done": 0, "total": 2, "note": f"calibrating on {len(calibration)} images"})
    quantized = quant.quantize(student, (batch for batch, _ in data.eval_batches(calibration, images.preprocessing, 64)))
    context.say({"done": 1, "total": 2, "note": "measuring on the held-out images"})
    path = context.folder / "student.safetensors"
    models.save_state(quantized.state_dict(), path)
    float_logits = held_out_logits(context, student)
    int8_logits = held_out_logits(context, quantized.simulate("ort"))
    labels = images.held_out.labels
    right_float, right_int8 = right(float_logits, labels), right(int8_logits, labels)
    measurements = (
        share("top1", right_int8, images="held-out", simulated="torch"),
        paired_drop("top1_drop", right_float, right_int8, images="held-out", against="fp32 student"),
        Measurement("sqnr_db", sqnr(float_logits, int8_logits), "dB", len(labels), conditions={"images": "held-out"}),
    )
    notes = {"calibration_images": len(calibration), "float_layers": quantized.float_layers, **_decision(context, measurements)}
    return Outcome((context.keep("student", path), context.keep_json("sites", quantized.sites)), measurements, notes)


def _decision(context: Context, measurements: tuple[Measurement, ...]) -> dict[str, str]:
    """What ``mode: auto`` decided. It keeps PTQ if that holds the quantize gates; this version has nothing else to choose."""
    if context.recipe.quantize.mode != "auto":
        return {"mode": "ptq"}
    by_name = {one.name: one for one in measurements}
    judged = [judge(gate, by_name.get(gate.metric)) for gate in context.recipe.gates_of("quantize")]
    holds = not judged or worst(one.verdict for one in judged) in (Verdict.PASS, Verdict.WAIVED)
    why = (
        "PTQ holds the quantize gates"
        if holds
        else "PTQ misses a quantize gate, and this version has no quantization-aware training"
    )
    return {"mode": "ptq", "decided_by": why}
