"""The charts of the page. Each takes plain numbers and returns one inline SVG with axes, units and a title for screen readers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekd.report.document import GatePart
from edgekd.report.phrases import decimals, interval, limit_text, number
from edgekd.report.svg import Canvas, Scale, linear, log_ticks, logarithmic, nice_ticks

BINS = 72


@dataclass(frozen=True)
class Point:
    """One accuracy with its interval. css: its colour, a class of the page; split: what it was measured on."""

    label: str
    split: str
    value: float
    low: float | None
    high: float | None
    n: int
    css: str


def accuracy(points: Sequence[Point]) -> str:
    """Dots with 95 % whiskers, one row each, on one axis in fractions."""
    width, left, right, top, row = 940, 250, 170, 14, 38
    bottom = top + row * len(points)
    edges = [edge for point in points for edge in (point.value, point.low, point.high) if edge is not None]
    ticks = [tick for tick in nice_ticks(min(edges), max(edges)) if tick <= 1 + 1e-9]
    x = linear(ticks[0], ticks[-1], left, width - right)
    summary = "; ".join(f"{point.label} ({point.split}): {point.value:.3f}, n={point.n}" for point in points)
    canvas = Canvas(width, bottom + 46, "Top-1 accuracy along the chain", summary)
    for tick in ticks:
        canvas.line(x(tick), top, x(tick), bottom, "grid")
        canvas.text(x(tick), bottom + 18, f"{tick:g}", "tick", "middle")
    canvas.text(
        (left + width - right) / 2, bottom + 40, "top-1 accuracy (fraction of images; whiskers: 95 % interval)", "axis", "middle"
    )
    for at, point in enumerate(points):
        y = top + row * (at + 0.5)
        places = decimals("fraction", (point.value,))
        words = f"{number(point.value, places)} {interval(point.low, point.high, places)}".strip()
        canvas.text(left - 14, y - 1, point.label, "label", "end")
        canvas.text(left - 14, y + 13, f"{point.split}, n={point.n:,}", "tick", "end")
        if point.low is not None and point.high is not None:
            canvas.line(x(point.low), y, x(min(point.high, ticks[-1])), y, f"whisker {point.css}")
        canvas.dot(x(point.value), y, 6, point.css, f"{point.label}: {words}, n={point.n:,}")
        canvas.text(width - right + 14, y + 4, words, "label")
    return canvas.markup()


def curve(title: str, unit: str, values: Sequence[tuple[int, float]], css: str, best_epoch: int | None = None) -> str:
    """One quantity over the epochs; the epoch that was kept is marked."""
    width, height, left, right, top, below = 460, 230, 74, 16, 14, 46
    bottom = height - below
    ticks = nice_ticks(min(value for _, value in values), max(value for _, value in values), 4)
    epochs = [epoch for epoch, _ in values]
    x, y = linear(min(epochs), max(epochs), left + 8, width - right), linear(ticks[0], ticks[-1], bottom, top)
    summary = f"from {values[0][1]:.4g} in epoch {epochs[0]} to {values[-1][1]:.4g} in epoch {epochs[-1]}"
    canvas = Canvas(width, height, title, summary)
    for tick in ticks:
        canvas.line(left, y(tick), width - right, y(tick), "grid")
        canvas.text(left - 8, y(tick) + 4, f"{tick:g}", "tick", "end")
    for epoch in _whole_ticks(epochs):
        canvas.text(x(epoch), bottom + 18, str(epoch), "tick", "middle")
    canvas.text((left + width - right) / 2, height - 6, "epoch", "axis", "middle")
    canvas.text(14, (top + bottom) / 2, unit, "axis", "middle", turn=True)
    canvas.path([(x(epoch), y(value)) for epoch, value in values], f"stroke {css}")
    for epoch, value in values:
        canvas.dot(x(epoch), y(value), 3, css, f"epoch {epoch}: {value:.4g}")
        if epoch == best_epoch:
            canvas.dot(x(epoch), y(value), 7, "ring", f"kept: epoch {epoch}, {value:.4g}")
    return canvas.markup()


def _whole_ticks(epochs: Sequence[int]) -> list[int]:
    ticks = [round(tick) for tick in nice_ticks(min(epochs), max(epochs), 6) if float(tick).is_integer()]
    return [tick for tick in dict.fromkeys((epochs[0], *ticks)) if min(epochs) <= tick <= max(epochs)]


@dataclass(frozen=True)
class Latencies:
    """One model's queries. marks: measured percentiles by name ("p90"), in ms, as the document has them."""

    label: str
    rounds_ms: Sequence[Sequence[float]]
    marks: Mapping[str, float]
    css: str


def histogram(models: Sequence[Latencies], target: str) -> str:
    """Queries by latency, one panel a model over a shared axis (logarithmic), percentiles marked."""
    width, left, right, panel, gap, top = 940, 62, 20, 120, 76, 40
    every = [ms for model in models for one in model.rounds_ms for ms in one]
    least = min((ms for ms in every if ms > 0), default=1e-3)
    low, high = least * 0.97, max(max(every), least * 1.05) * 1.03
    x = logarithmic(low, high, left, width - right)
    height = top + len(models) * (panel + gap) - gap + 50
    summary = "; ".join(f"{one.label}: " + ", ".join(f"{name} {ms:.3g} ms" for name, ms in one.marks.items()) for one in models)
    canvas = Canvas(width, height, f"Latency of single queries on {target}", summary)
    for at, model in enumerate(models):
        base = top + panel + at * (panel + gap)
        counts = _binned([ms for one in model.rounds_ms for ms in one], low, high)
        ceiling = nice_ticks(0, max(counts), 3)
        y = linear(0, ceiling[-1], base, base - panel)
        for tick in ceiling:
            canvas.line(left, y(tick), width - right, y(tick), "grid")
            canvas.text(left - 8, y(tick) + 4, f"{tick:,.0f}", "tick", "end")
        for tick in log_ticks(low, high):
            canvas.line(x(tick), base, x(tick), base + 4, "grid")
            canvas.text(x(tick), base + 18, f"{tick:g}", "tick", "middle")
        for place, count in enumerate(counts):
            start, end = (left + (width - right - left) * edge / BINS for edge in (place, place + 1))
            if count:
                tall = max(base - y(count), 2)  # one slow query in thousands is still seen
                canvas.rect(start + 0.5, base - tall, end - start - 1, tall, f"bar {model.css}", f"{count:,} queries")
        total = sum(len(one) for one in model.rounds_ms)
        canvas.text(left, base - panel - 22, f"{model.label}: {total:,} queries in {len(model.rounds_ms)} rounds", "label strong")
        canvas.text(14, base - panel / 2, "queries", "axis", "middle", turn=True)
        _marks(canvas, model, x, base, panel, width - right)
    canvas.text((left + width - right) / 2, height - 8, "latency of one query (ms, logarithmic)", "axis", "middle")
    return canvas.markup()


def _binned(values: Sequence[float], low: float, high: float) -> list[int]:
    place = logarithmic(low, high, 0, BINS)
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, math.floor(place(value))))] += 1
    return counts


def _marks(canvas: Canvas, model: Latencies, x: Scale, base: float, panel: float, end: float) -> None:
    taken = -math.inf  # where the last label ended, so that close percentiles do not write over one another
    for name, ms in sorted(model.marks.items(), key=lambda mark: mark[1]):
        words = f"{name} {number(ms, decimals('ms', [ms]))}"
        length = 6.4 * len(words)
        at = max(x(ms), taken + length / 2 + 8)
        at = min(at, end - length / 2)
        canvas.line(x(ms), base, x(ms), base - panel - 4, "mark")
        canvas.text(at, base - panel - 8, words, "tick", "middle")
        taken = at + length / 2


def gate_strip(gate: GatePart) -> str:
    """A measured interval against its bound: the side that fails is shaded. Empty when nothing was measured."""
    if gate.value is None:
        return ""
    width, height, middle = 170, 22, 11
    edges = [edge for edge in (gate.value, gate.low, gate.high, gate.limit) if edge is not None]
    spread = (max(edges) - min(edges)) or abs(gate.limit) or 1.0
    x = linear(min(edges) - 0.18 * spread, max(edges) + 0.18 * spread, 0, width)
    bound = limit_text(gate.bound, gate.limit)
    canvas = Canvas(width, height, f"{gate.metric} against {bound}", f"measured {gate.value:.6g}, {gate.verdict.value}")
    edge = x(gate.limit)
    start, end = (0.0, edge) if gate.bound == "min" else (edge, float(width))
    canvas.rect(start, 3, end - start, height - 6, "forbidden")
    canvas.line(edge, 1, edge, height - 1, "mark")
    if gate.low is not None and gate.high is not None:
        canvas.line(x(gate.low), middle, x(gate.high), middle, f"whisker v-{gate.verdict.value}")
    canvas.dot(x(gate.value), middle, 4, f"v-{gate.verdict.value}", f"{gate.value:.6g}, must be {bound}")
    return canvas.markup()
