"""The rows of a report: per step every gated measurement, then the few ungated ones a reader asks for first."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.core import Verdict
from edgekd.report.document import Document, GatePart, MeasurementPart, StagePart
from edgekd.report.fit import fit_sentence
from edgekd.report.phrases import MISSING, age, decimals, interval, limit_text, megabytes, number

SHOWN = {
    "preflight": ("latency_ms.p50", "speedup", "speedup_fp16", "size_mb"),
    "teacher": ("top1",),
    "teacher_exam": ("top1",),
    "distill": ("top1", "top1_drop", "improved_teacher.top1", "improved_teacher.top1_gain"),
    "exam": ("top1",),
    "quantize": ("top1", "top1_drop", "ptq.top1_drop", "qat.top1_drop"),
    "export": ("parity.top1_agreement", "parity.sqnr_db", "quantize_static.top1_drop"),
    "build": ("size_mb", "layers.float"),
    "benchmark": ("top1", "top1_drop", "latency_ms.p50", "latency_ms.p90", "speedup", "speedup_fp16", "power_w"),
    "bundle": ("golden_agreement",),
}
_ADVICE = {  # by stage, else by metric or its group
    "top1": "more epochs, a wider model or more data",
    "top1_drop": "more epochs or a wider student",
    "quantize": "quantize.mode: qat, or more quantize.calibration_images",
    "quantize with QAT": "more quantize.epochs, another quantize.distill, or a wider student",
    "latency_ms": "a smaller student.width or data.image_size, or more threads for the target",
    "speedup": "compare latency_ms with latency_ms_fp32 in the report: small models leave little to gain",
    "speedup_fp16": "ship precision: fp16 on this device, or look at the float layers of its build",
    "power_w": "a power mode of fewer watts, or a smaller student.width",
    "energy_mj": "a smaller student.width or data.image_size",
    "parity": "compare the flavours in the export step's notes; report it if the recipe is a shipped one",
    "size_mb": "a smaller student.width",
    "peak_memory_mb": "a smaller student.width or data.image_size",
    "golden_agreement": "make the bundle again on this machine, and look for a changed runtime version",
}


SMOKE = "the chain was tried on a handful of images; nothing was judged, and no number here means anything"


def warnings(document: Document) -> list[str]:
    """What a step found that no gate asked about, and a person should know, with its target."""
    said = [(step.target, str(step.notes["warning"])) for step in document.stages if "warning" in step.notes]
    return list(dict.fromkeys(f"{target}: {text}" if target else text for target, text in said))


@dataclass(frozen=True)
class Row:
    """One line of a step, ready to lay out; ``verdict`` is None where no gate asks."""

    metric: str
    value: str
    interval: str
    n: str
    bound: str
    verdict: Verdict | None
    why: str
    gate: GatePart | None = None


def rows_of(step: StagePart) -> list[Row]:
    gates = [_gate_row(gate, step.measurement(gate.metric)) for gate in step.gates]
    gated = {gate.metric for gate in step.gates}
    free = [(name, step.measurement(name)) for name in SHOWN.get(step.name, ()) if name not in gated]
    return gates + [row_of(measured) for _, measured in free if measured is not None]


def row_of(measured: MeasurementPart) -> Row:
    """A measurement no gate asks for."""
    places = decimals(measured.unit, (measured.value, measured.low, measured.high))
    value, span = number(measured.value, places), interval(measured.low, measured.high, places)
    return Row(measured.name, value, span, _n(measured), "", None, "; ".join(measured.suspect))


def _gate_row(gate: GatePart, measured: MeasurementPart | None) -> Row:
    places = decimals(measured.unit if measured else "1", (gate.value, gate.low, gate.high), gate.limit)
    value, span = number(gate.value, places), interval(gate.low, gate.high, places)
    return Row(gate.metric, value, span, _n(measured), limit_text(gate.bound, gate.limit), gate.verdict, gate.why, gate)


def _n(measured: MeasurementPart | None) -> str:
    """n=360; nothing for a single thing (a file's size), where it says nothing."""
    return f"n={measured.n:,}" if measured and measured.n > 1 else ""


def steps_to_show(document: Document) -> list[StagePart]:
    """Every step, but of a target nothing was measured on only those with gates, or the first if it has none."""
    shown: list[StagePart] = []
    for step in document.stages:
        silent = step.target in document.unmeasured and step.status == "skipped" and not step.gates
        others = any(one.gates for one in document.stages if one.target == step.target)
        if not (silent and (others or any(one.target == step.target for one in shown))):
            shown.append(step)
    return shown


def status_text(step: StagePart) -> str:
    """Why a step has no fresh result: reused and how old, failed, skipped; empty for one that ran now."""
    match step.status:
        case "cached":
            return "reused" if step.age_s is None else f"reused {age(step.age_s)}"
        case "failed" | "skipped":
            return step.status
        case _:
            return ""


def misses(document: Document, *verdicts: Verdict) -> list[str]:
    """One sentence a gate that ended so, and before them one of the ladder: which number, where, its value, the bound, by how
    much, and what to try. A smoke run leaves all open, which one sentence says."""
    if document.smoke:
        return []
    found = fit_sentence(document, *verdicts)
    for step in document.stages:
        for row in rows_of(step):
            if row.gate is None or row.verdict not in verdicts:
                continue
            place = " ".join(filter(None, (step.name, step.target)))
            seen = ", ".join(filter(None, (" ".join(filter(None, (row.metric, row.value, row.interval))), row.n)))
            found.append(f"{place}: {seen}, must be {row.bound}{_by(row.gate)}{_reason(row)}{_try(step, row)}")
    return found


def _by(gate: GatePart) -> str:
    if gate.value is None or gate.verdict != Verdict.FAIL:
        return ""
    off = abs(gate.value - gate.limit)
    if off == 0 or (gate.value > gate.limit) == (gate.bound == "min"):
        return ""
    return f" (off by {number(off, decimals('1', [off]))})"


def _reason(row: Row) -> str:
    return "" if row.why in ("", "does not hold") else f": {row.why}"


def _try(step: StagePart, row: Row) -> str:
    trained = step.name == "quantize" and step.measurement("qat.top1") is not None
    names = ("quantize with QAT" if trained else step.name, row.metric, row.metric.split(".")[0])
    advice = next((_ADVICE[name] for name in names if name in _ADVICE), None)
    return f". Try: {advice}" if advice and row.verdict == Verdict.FAIL else ""


def bundle_text(document: Document) -> str | None:
    """runs/a/bundle: 11.2 MB, 14 files, 200 of 200 golden cases agree; None when no bundle was made."""
    if document.bundle is None:
        return None
    parts = []
    for step in document.steps("bundle"):
        if step.artifacts:
            parts += [megabytes(sum(one.bytes for one in step.artifacts)), f"{len(step.artifacts)} files"]
        golden = step.measurement("golden_agreement")
        if golden is None or golden.value is None or golden.n == 0:
            parts.append("golden cases not checked")
        else:
            agree = round(golden.value * golden.n)
            some = f"only {agree:,} of {golden.n:,}" if agree != golden.n else f"{golden.n:,}"
            parts.append(f"{some} golden cases agree")
            if not_run := golden.conditions.get("not_run"):
                parts.append(f"{len(not_run)} engine{'s' * (len(not_run) > 1)} not run here")
    return f"{document.bundle}: {', '.join(parts)}" if parts else document.bundle


def data_text(document: Document) -> str | None:
    """digits, 10 classes: 1,257 train, 180 held out, 360 test (test opened once)."""
    if document.data is None:
        return None
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in document.data.counts.items())
    times = {None: "", 0: " (test not opened yet)", 1: " (test opened once)"}
    opened = "" if document.smoke else times.get(document.test_opened, f" (test opened {document.test_opened} times)")
    return f"{document.data.source}, {len(document.data.classes)} classes: {counts or MISSING}{opened}"


def verdict_text(document: Document) -> str:
    """The last line: PASS on cpu; jetson NOT MEASURED (why)."""
    if document.verdict is None:
        stopped = f"stopped after {document.until}, as asked" if document.until else "the run ended before it could be judged"
        what = document.error.what if document.error else stopped
        return f"NOT JUDGED (exit {document.exit_code}): {what}"
    if document.smoke:
        return f"SMOKE, {document.verdict.value} (exit {document.exit_code}): {SMOKE}"
    silent = {one.name: one for one in document.targets if one.name in document.unmeasured or one.verdict == Verdict.NOT_MEASURED}
    judged = [one for one in document.targets if one.name not in silent]
    if document.verdict == Verdict.PASS:
        names = [one.name for one in judged if one.verdict in (Verdict.PASS, Verdict.WAIVED)]
        head = f"PASS on {', '.join(names)}" if names else "PASS"
        waived = sum(gate.verdict == Verdict.WAIVED for step in document.stages for gate in step.gates)
        head += f", {waived} gate{'s' * (waived > 1)} waived" if waived else ""
    elif document.fit is not None and document.fit.verdict == document.verdict:
        what = "no rung of the ladder fits" if document.verdict == Verdict.FAIL else "no rung of the ladder was chosen"
        head = f"{document.verdict.value}: {what} (exit {document.exit_code})"
    elif not any(step.gates for step in document.stages):
        head = f"{document.verdict.value} (exit {document.exit_code}): the recipe sets no gates, so nothing was judged"
    else:
        places = {
            " ".join(filter(None, (step.name, step.target, gate.metric)))
            for step in document.stages
            for gate in step.gates
            if gate.verdict == document.verdict and gate.target not in silent
        }
        head = f"{document.verdict.value.replace('_', ' ')}{': ' if places else ''}{', '.join(sorted(places))}"
        head += f" (exit {document.exit_code})"
    tail = [f"{one.name} NOT MEASURED" + (f" ({one.why})" if one.why else "") for one in silent.values()]
    return "; ".join([head, *tail])
