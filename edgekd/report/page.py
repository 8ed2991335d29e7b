"""The report as one HTML file: style and charts inside, no script, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from edgekd.core import Verdict
from edgekd.report import charts, evidence, phrases, quantization, rows
from edgekd.report.document import Document, StagePart, parse
from edgekd.report.evidence import Gap
from edgekd.report.fit import ladder_curves, ladder_rows
from edgekd.report.waterfall import falls
from edgekd.report.waterfall_chart import waterfall

_PLAIN = ("holds", "does not hold", "not measured")  # what a verdict says by itself
_PERCENTILES = ("p50", "p90", "p99")
_CHAIN_POINTS = (  # stage, measurement, label, colour, split when the measurement does not name one
    ("teacher", "top1", "teacher, fp32", "c-teacher", "held-out"),
    ("distill", "top1", "student, fp32", "c-fp32", "held-out"),
    ("quantize", "top1", "student, quantized in torch", "c-int8", "held-out"),
    ("benchmark", "top1_fp32", "student, fp32", "c-fp32", "test"),
    ("benchmark", "top1", "student, as built", "c-int8", "test"),
)


def render_html(document: Document | Mapping[str, Any], run: Path) -> str:
    """One HTML page. run: the folder the artifacts' paths are relative to; a file missing there is named, never guessed.

    Raises InputError when the document is not one of schema 1.
    """
    document = parse(document)
    return template("page.html.jinja").render(
        document=document,
        verdict=document.verdict.value if document.verdict else "NOT_JUDGED",
        headline=rows.verdict_text(document),
        failed=rows.misses(document, Verdict.FAIL),
        undecided=rows.misses(document, Verdict.INCONCLUSIVE),
        waived=rows.misses(document, Verdict.WAIVED),
        warnings=rows.warnings(document),
        silent=[(one.name, one.why) for one in document.targets if one.name in document.unmeasured],
        skipped=[step for step in document.stages if step.status == "skipped" and step.target not in document.unmeasured],
        gates=[
            (step, row, _strip(row), "" if document.smoke or row.why in _PLAIN else row.why)
            for step in document.stages
            for row in rows.rows_of(step)
            if row.gate
        ],
        data=rows.data_text(document),
        bundle=rows.bundle_text(document),
        rungs=ladder_rows(document.fit) if document.fit else [],
        ladders=[Markup(one) for one in ladder_curves(document.fit)] if document.fit else [],
        accuracy=_accuracy(document),
        ways=quantization.ways(document),
        quantized=[
            (quantization.decision(step), quantization.candidates(step), quantization.left_float(step))
            for step in document.steps("quantize")
        ],
        falls=[(fall, Markup(waterfall(fall))) for fall in falls(document)],
        trainings=[(step, *_curves(run, step)) for step in document.stages if _trains(step)],
        latencies=[(step, _latencies(run, step)) for step in _measured(document)],
        conditions=[(step, evidence.evidence(run, step, "conditions", evidence.flat)) for step in _measured(document)],
        environment=evidence.flat(document.environment),
        recipe=evidence.flat(document.recipe or {}),
    )


@cache
def template(name: str) -> Template:
    """A page of this room by its file's name."""
    environment = Environment(
        loader=PackageLoader("edgekd.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["gap"] = lambda value: isinstance(value, Gap)
    environment.filters.update(
        duration=phrases.duration, megabytes=phrases.megabytes, status=rows.status_text, flat=evidence.flat, row=rows.row_of
    )
    return environment.get_template(name)


def _strip(row: rows.Row) -> Markup:
    return Markup(charts.gate_strip(row.gate) if row.gate else "")


def _measured(document: Document) -> list[StagePart]:
    """The benchmark of every target that was measured, or failed while it was."""
    return [step for step in document.steps("benchmark") if step.target not in document.unmeasured]


def _accuracy(document: Document) -> Markup | Gap:
    points = []
    for stage, name, label, css, split in _CHAIN_POINTS:
        for step in document.steps(stage):
            found = step.measurement(name)
            if found is not None and found.value is not None and found.n:
                where = f" on {step.target}" if step.target else ""
                said = str(found.conditions.get("images", split))
                points.append(charts.Point(label + where, said, found.value, found.low, found.high, found.n, css))
    return Markup(charts.accuracy(points)) if points else Gap("No accuracy was measured in this run.")


def _trains(step: StagePart) -> bool:
    return step.name in ("teacher", "distill") or step.artifact("curves") is not None


def _curves(run: Path, step: StagePart) -> tuple[Markup | Gap, Markup | None]:
    """The loss and the held-out accuracy of one training."""
    found = evidence.evidence(run, step, "curves", evidence.curves)
    if isinstance(found, Gap):
        return found, None
    css = {"teacher": "c-teacher", "quantize": "c-int8"}.get(step.name, "c-fp32")
    loss = charts.curve(f"{step.name}: training loss by epoch", "training loss", found.loss, css, found.best_epoch)
    if not found.held_out_top1:
        return Markup(loss), None
    title = f"{step.name}: held-out top-1 accuracy by epoch"
    return Markup(loss), Markup(charts.curve(title, "held-out top-1", found.held_out_top1, css, found.best_epoch))


def _latencies(run: Path, step: StagePart) -> Markup | Gap:
    found = evidence.evidence(run, step, "latencies", evidence.latencies)
    if isinstance(found, Gap):
        return found
    models = []
    for name, rounds in found.items():
        yardstick = f"latency_ms_{name}"
        family = yardstick if step.measurement(f"{yardstick}.p50") else "latency_ms"
        measured = {mark: step.measurement(f"{family}.{mark}") for mark in _PERCENTILES}
        marks = {mark: one.value for mark, one in measured.items() if one is not None and one.value is not None}
        models.append(charts.Latencies(name, rounds, marks, f"c-{name}" if name in ("fp32", "fp16") else "c-int8"))
    return Markup(charts.histogram(models, step.target or "the target"))
