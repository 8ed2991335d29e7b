"""The page of a sweep: its table, a chart of the differences with their intervals, what every run measured. No script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from edgekd.report.evidence import flat
from edgekd.report.page import template
from edgekd.report.phrases import MISSING, duration
from edgekd.report.svg import Canvas, linear, nice_ticks
from edgekd.report.sweep import ArmPart, RunPart, SweepDocument, parse_sweep
from edgekd.report.sweep_screen import HEAD, cells, facts, failures, interval_text, noise_text, percent

_COLOURS = {"better": "v-PASS", "worse": "v-FAIL", "cannot tell": "v-INCONCLUSIVE"}


def render_sweep_html(document: SweepDocument | Mapping[str, Any]) -> str:
    """One HTML page. Raises InputError: not a document of a sweep."""
    document = parse_sweep(document)
    told = [(name, text) for name, text in facts(document) if name not in ("failed", "how")]
    return template("sweep.html.jinja").render(
        document=document,
        head=[one.format(document.baseline) for one in HEAD],
        rows=[(arm, cells(arm), _COLOURS.get(arm.difference.verdict if arm.difference else "")) for arm in document.arms],
        facts=told,
        failures=failures(document),
        how=dict(facts(document))["how"].split("; "),
        chart=Markup(differences(document)) if any(arm.difference for arm in document.arms) else None,
        runs=[(arm, run, _run(run)) for arm in document.arms for run in arm.runs],
        environment=flat(document.environment),
    )


def _run(run: RunPart) -> tuple[str, ...]:
    shares = [percent(one.value) if one and one.value is not None else MISSING for one in (run.test_top1, run.held_out_top1)]
    times = [duration(one) for one in (run.seconds, run.cpu_seconds)]
    images = ", ".join(f"{name} {count:,}" for name, count in run.images.items()) or MISSING
    return (*shares, str(run.epochs or MISSING), *times, images)


def differences(document: SweepDocument) -> str:
    """A row for each arm that is compared: its difference to the baseline, its interval, and behind it that of each seed."""
    arms = [arm for arm in document.arms if arm.difference]
    base = next(arm for arm in document.arms if arm.baseline)
    width, left, right, top, row = 940, 24, 190, 14, 52
    bottom = top + row * len(arms)
    seeds = {arm.name: _by_seed(arm, base) for arm in arms}
    edges = [0.0, *(edge for arm in arms if (gap := arm.difference) for edge in (100 * gap.low, 100 * gap.high))]
    ticks = nice_ticks(min(edges), max(edges))
    x = linear(ticks[0], ticks[-1], left, width - right)
    summary = "; ".join(
        f"{arm.name}: {percent(gap.value, sign=True)} {interval_text(gap)}" for arm in arms if (gap := arm.difference)
    )
    canvas = Canvas(width, bottom + 46, f"Difference in test top-1 to {document.baseline}", summary)
    for tick in ticks:
        canvas.line(x(tick), top, x(tick), bottom, "mark" if tick == 0 else "grid")
        canvas.text(x(tick), bottom + 18, f"{tick:+g}" if tick else "0", "tick", "middle")
    axis = f"test top-1 minus that of {document.baseline}, percentage points (bar: 95 % interval; small dots: seeds)"
    canvas.text((left + width - right) / 2, bottom + 40, axis, "axis", "middle")
    for at, arm in enumerate(arms):
        gap, y = arm.difference, top + row * at + 34
        if gap is None:
            continue
        css, words = _COLOURS[gap.verdict], f"{percent(gap.value, sign=True)} {interval_text(gap)}"
        canvas.text(left, y - 18, arm.name, "label")
        canvas.line(x(100 * gap.low), y, x(100 * gap.high), y, f"whisker {css}")
        for seed, value in seeds[arm.name].items():
            canvas.dot(x(max(ticks[0], min(ticks[-1], 100 * value))), y, 2.5, "seed", f"seed {seed}: {percent(value, sign=True)}")
        canvas.dot(x(100 * gap.value), y, 6, css, f"{arm.name}: {words}, {gap.n} {gap.over}, {noise_text(gap)}")
        canvas.text(width - right + 14, y + 4, words, "label")
    return canvas.markup()


def _by_seed(arm: ArmPart, base: ArmPart) -> dict[int, float]:
    other = {run.seed: run.test_top1.value for run in base.runs if run.test_top1}
    own = {run.seed: run.test_top1.value for run in arm.runs if run.test_top1}
    pairs = {seed: (value, other.get(seed)) for seed, value in own.items()}
    return {seed: a - b for seed, (a, b) in pairs.items() if a is not None and b is not None}
