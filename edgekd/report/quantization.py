"""The ways to 8 bits side by side: after training, with training, and onnxruntime's own tool; all against the fp32 student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekd.report.document import Document, MeasurementPart, StagePart
from edgekd.report.phrases import number
from edgekd.report.rows import Row, row_of

_WAYS = (  # stage, prefix of the measurements, label, the note's word for what ships
    ("quantize", "ptq", "after training (PTQ)", "ptq"),
    ("quantize", "qat", "with training (QAT)", "qat"),
    ("export", "quantize_static", "onnxruntime's quantize_static", ""),
)
_MEASURES = ("top1", "top1_drop", "sqnr_db")


@dataclass(frozen=True)
class Way:
    """measured: rows by top1, top1_drop and sqnr_db, as far as they were. remark: if it ships, which file it is of or like."""

    label: str
    measured: Mapping[str, Row]
    remark: str


@dataclass(frozen=True)
class Candidate:
    """sqnr_db: by flavour, ready to read."""

    name: str
    sqnr_db: Mapping[str, str]
    chosen: bool


def ways(document: Document) -> list[Way]:
    """Those that were measured; empty where quantize did not run."""
    found = []
    ships = {step.notes.get("mode") for step in document.steps("quantize")}
    for stage, prefix, label, mode in _WAYS:
        for step in document.steps(stage):
            parts = {name: step.measurement(f"{prefix}.{name}") for name in _MEASURES}
            known = {name: part for name, part in parts.items() if part is not None}
            remark = [
                *(["ships"] if mode in ships else []),
                *_told(known, "flavour", "worst of the files"),
                *_told(known, "like", "weights as coarse as in the file"),
            ]
            if known:
                found.append(Way(label, {name: row_of(part) for name, part in known.items()}, "; ".join(remark)))
    return found


def _told(measured: Mapping[str, MeasurementPart], condition: str, label: str) -> list[str]:
    """The values of a condition, behind a label; nothing where it is not told."""
    values = dict.fromkeys(str(part.conditions[condition]) for part in measured.values() if condition in part.conditions)
    return [f"{label}: {', '.join(values)}"] if values else []


def candidates(step: StagePart) -> list[Candidate]:
    """What post-training quantization tried, by signal to noise on calibration images; a note of another shape counts as none."""
    try:
        return [
            Candidate(str(one["name"]), {str(key): number(db, 1) for key, db in one["sqnr_db"].items()}, bool(one["chosen"]))
            for one in step.notes["candidates"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def left_float(step: StagePart) -> list[tuple[str, list[str]]]:
    """(reason, layers and ops) of what computes in float on purpose; a note of another shape counts as none."""
    by_reason: dict[str, list[str]] = {}
    try:
        for one in step.notes["float_layers"]:
            by_reason.setdefault(str(one["reason"]), []).append(str(one["layer"]))
    except (KeyError, TypeError):
        return []
    return list(by_reason.items())


def decision(step: StagePart) -> str:
    """Why what ships was chosen, in the step's own words."""
    return str(step.notes.get("decided_by", ""))
