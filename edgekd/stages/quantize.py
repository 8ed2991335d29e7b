"""Quantize: round to 8 bits after training, fine-tune with the rounding in place where asked or needed, keep the better one."""

from __future__ import annotations

from edgekd import data, models, quant, targets
from edgekd.core import Judgement, Outcome, judge
from edgekd.core.gate import Verdict
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.fine_tuning import fine_tune
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images
from edgekd.stages.rounded import Rounded, judged_rounded


def run(context: Context) -> Outcome:
    """Makes student.safetensors (folded), sites.json and, where it trained, curves.json.

    Measures top1, top1_drop (against the fp32 student) and sqnr_db of what ships, each of the int8 file that has the worst; the
    same as ptq.* and, where it was trained, as qat.*.
    """
    device = set_up(context.recipe)
    images, recipe = open_images(context), context.recipe
    student = models.load_saved(context.input("distill").path("student"))
    flavours = targets.int8_flavours_of(recipe.targets)
    calibration = images.calibration(recipe.quantize.calibration_images)
    context.say({"done": 0, "total": 2, "note": f"calibrating on {len(calibration)} images"})
    batches = (batch for batch, _ in data.eval_batches(calibration, images.preprocessing, 64))
    quantized = quant.quantize(student, batches, flavours)
    context.say({"done": 1, "total": 2, "note": "measuring on the held-out images"})
    float_logits, labels = held_out_logits(context, student), images.held_out.labels
    ptq = judged_rounded(context, quantized, flavours, float_logits, labels)
    why = _why_fine_tune(context, ptq)
    ships, mode, qat, trained = ptq, "ptq", None, None
    if why is not None:
        trained = fine_tune(context, ptq, student, device)
        qat = judged_rounded(context, trained.quantized, flavours, float_logits, labels)
        ships, mode = (qat, "qat") if _fine_tuned_ships(context, ptq, qat) else (ptq, "ptq")
    path = context.folder / "student.safetensors"
    models.save_state(ships.quantized.state_dict(), path)
    artifacts = [context.keep("student", path), context.keep_json("sites", ships.quantized.sites)]
    if trained is not None:
        artifacts.append(context.keep_json("curves", trained.curves))
    return Outcome(
        tuple(artifacts),
        (*ships.measurements(), *ptq.measurements("ptq."), *(qat.measurements("qat.") if qat else ())),
        {
            "calibration_images": len(calibration),
            "float_layers": quantized.float_layers,
            "candidates": quantized.candidates,
            "mode": mode,
            "decided_by": _decided_by(context, why, ptq, qat),
            **(trained.notes if trained else {}),
        },
    )


def _why_fine_tune(context: Context, ptq: Rounded) -> str | None:
    """The reason to train, or None."""
    mode = context.recipe.quantize.mode
    if mode != "auto":
        return "the recipe asks for it" if mode == "qat" else None
    missed = _missed(context, ptq)
    return f"PTQ misses the gate on {missed.gate.metric} ({missed.why})" if missed else None


def _missed(context: Context, rounded: Rounded) -> Judgement | None:
    """The first quantize gate that does not hold. An INCONCLUSIVE one does not: a run that ends with it is not proven."""
    by_name = {one.name: one for one in rounded.measurements()}
    gates = [gate for gate in context.recipe.gates_of("quantize") if gate.metric in by_name]
    judged = (judge(gate, by_name[gate.metric]) for gate in gates)
    return next((one for one in judged if one.verdict not in (Verdict.PASS, Verdict.WAIVED)), None)


def _fine_tuned_ships(context: Context, ptq: Rounded, qat: Rounded) -> bool:
    """Whichever holds the gates alone; else the better one."""
    ptq_holds, qat_holds = _missed(context, ptq) is None, _missed(context, qat) is None
    return qat_holds if ptq_holds != qat_holds else qat.better_than(ptq)


def _decided_by(context: Context, why: str | None, ptq: Rounded, qat: Rounded | None) -> str:
    """One sentence on what ships and why."""
    if qat is None and context.recipe.quantize.mode == "ptq":
        return "the recipe asks for PTQ"
    if qat is None:
        return "PTQ holds the quantize gates" if context.recipe.gates_of("quantize") else "no quantize gate to miss"
    compared = f"held-out {qat.in_short()} with QAT, {ptq.in_short()} without (mean and worst of the int8 files)"
    if _fine_tuned_ships(context, ptq, qat):
        return f"{why}; {compared}: QAT ships"
    return f"{why}; {compared}: QAT did not improve on PTQ: PTQ ships"
