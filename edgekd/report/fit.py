"""The ladder in a report: its rungs as rows and as a curve, and what became of it as a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekd.core import Verdict
from edgekd.report.document import Document, FitPart, GatePart, RungPart
from edgekd.report.phrases import MISSING, decimals, interval, limit_text, number
from edgekd.report.svg import Canvas, linear, log_ticks, logarithmic, nice_ticks

_COLOURS = {"yes": "v-PASS", "no": "v-FAIL", "undecided": "v-INCONCLUSIVE"}
_WORDS = {"yes": "fits", "no": "does not fit"}


@dataclass(frozen=True)
class LadderRow:
    """A rung as text. numbers: one for each bound: (target and metric, value, interval, bound). lacks: targets without the memory
    for it; why tells more."""

    width: str
    pixels: str
    parameters: str
    macs: str
    fits: str
    why: str
    numbers: tuple[tuple[str, str, str, str], ...]
    lacks: tuple[str, ...]
    chosen: bool


def ladder_rows(fit: FitPart) -> list[LadderRow]:
    return [_row(rung, _is_chosen(fit, rung)) for rung in fit.rungs]


def fit_sentence(document: Document, *verdicts: Verdict) -> list[str]:
    """What became of the ladder, if it ended so: a list of one sentence or none. A smoke run asked nothing."""
    fit = document.fit
    if fit is None or document.smoke or fit.verdict not in verdicts:
        return []
    advice = ". Try: a smaller width or image_size in fit, or the bound that it would hold" if fit.verdict is Verdict.FAIL else ""
    return [f"student.width: auto: {fit.why}{advice}"]


def ladder_curves(fit: FitPart) -> list[str]:
    """One chart for each target and bounded metric that was measured: the number over the work of a rung, with the bound."""
    asked = dict.fromkeys(_bound_of(gate) for rung in fit.rungs for gate in rung.bounds)
    charts = [_curve(fit, target, key) for target, key in asked]
    return [chart for chart in charts if chart]


def _bound_of(gate: GatePart) -> tuple[str, str]:
    """The target and the recipe's key: a rung that was only glanced at answers for the bound with its fastest query."""
    return gate.target or "", gate.inherited or gate.metric


def _is_chosen(fit: FitPart, rung: RungPart) -> bool:
    return fit.chosen is not None and (fit.chosen.width, fit.chosen.image_size) == (rung.width, rung.image_size)


def _row(rung: RungPart, chosen: bool) -> LadderRow:
    height, width = rung.image_size
    numbers = []
    for gate in rung.bounds:
        places = decimals("ms", (gate.value, gate.low, gate.high), gate.limit)
        span = interval(gate.low, gate.high, places)
        limit = limit_text(gate.bound, float(f"{gate.limit:.4g}"))
        numbers.append((f"{gate.target} {gate.metric}", number(gate.value, places), span, limit))
    return LadderRow(
        f"{rung.width:g}", str(height) if height == width else f"{height}x{width}",
        f"{rung.parameters:,}" if rung.parameters is not None else MISSING,
        f"{rung.macs / 1e6:,.3g} M" if rung.macs is not None else MISSING,
        _WORDS.get(rung.fits, rung.fits), rung.why, tuple(numbers), tuple(rung.no_room), chosen,
    )  # fmt: skip


def _curve(fit: FitPart, target: str, key: str) -> str:
    """Work relative to the largest rung (logarithmic) to the right, the measured number upwards."""
    of = [(rung, gate) for rung in fit.rungs for gate in rung.bounds if _bound_of(gate) == (target, key)]
    points = [(rung, gate, gate.value) for rung, gate in of if gate.value is not None]
    if not points:
        return ""
    width, height, left, right, top, below = 460, 250, 74, 16, 16, 46
    bottom, limit = height - below, points[0][1].limit
    works = [_work(rung) for rung in fit.rungs]
    low, high = min(works) / max(works) * 0.85, 1.15
    edges = [edge for _, gate, value in points for edge in (value, gate.low, gate.high, limit) if edge is not None]
    ticks = nice_ticks(0, max(edges), 4)
    x, y = logarithmic(low, high, left, width - right), linear(ticks[0], ticks[-1], bottom, top)
    metric = key.partition(f".{target}.")[2] or key
    unit = "ms" if metric.startswith("latency_ms") else "MB"
    summary = "; ".join(f"width {rung.width:g}, {rung.image_size[0]} px: {value:.4g} {unit}" for rung, _, value in points)
    canvas = Canvas(width, height, f"{metric} of the rungs on {target}, against {limit:.4g} {unit}", summary)
    for tick in ticks:
        canvas.line(left, y(tick), width - right, y(tick), "grid")
        canvas.text(left - 8, y(tick) + 4, f"{tick:g}", "tick", "end")
    for tick in log_ticks(low, high, 6):
        canvas.text(x(tick), bottom + 18, f"{tick:g}", "tick", "middle")
    canvas.rect(left, top, width - right - left, max(0.0, y(limit) - top), "forbidden")
    canvas.line(left, y(limit), width - right, y(limit), "mark")
    canvas.text((left + width - right) / 2, height - 6, "work of a rung (width² · pixels, the largest is 1)", "axis", "middle")
    canvas.text(14, (top + bottom) / 2, f"{metric} ({unit})", "axis", "middle", turn=True)
    for rung, gate, value in points:
        at, css = x(_work(rung) / max(works)), _COLOURS.get(_fits(gate), "v-INCONCLUSIVE")
        if gate.low is not None and gate.high is not None:
            canvas.line(at, y(gate.low), at, y(gate.high), f"whisker {css}")
        seen = f"{gate.metric} {value:.4g} {unit}"
        canvas.dot(at, y(value), 5, css, f"width {rung.width:g}, {rung.image_size[0]} px: {seen}")
        if _is_chosen(fit, rung):
            canvas.dot(at, y(value), 9, "ring", f"chosen: width {rung.width:g}, {rung.image_size[0]} px")
    return canvas.markup()


def _fits(gate: GatePart) -> str:
    return {Verdict.PASS: "yes", Verdict.FAIL: "no"}.get(gate.verdict, "undecided")


def _work(rung: RungPart) -> float:
    return math.prod((rung.width, rung.width, *rung.image_size))
