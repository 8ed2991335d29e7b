"""One verdict and one exit code for a walked chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgekd.core import Verdict, worst
from edgekd.pipeline.chain import CHAIN
from edgekd.pipeline.control import Control
from edgekd.pipeline.walk import Walk
from edgekd.recipe import Recipe

EXIT_OF = {Verdict.PASS: 0, Verdict.WAIVED: 0, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4, Verdict.NOT_MEASURED: 4}


@dataclass(frozen=True)
class TargetVerdict:
    """How one target came out. required: "always" or "when-connected"."""

    name: str
    required: str
    verdict: Verdict
    why: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "required": self.required, "verdict": self.verdict.value, "why": self.why}


def target_verdicts(walk: Walk, recipe: Recipe) -> tuple[TargetVerdict, ...]:
    """A target passes when its benchmark ran and all its gates hold; without a benchmark it is NOT_MEASURED."""
    results = []
    nothing_judged = walk.control.smoke or not any(row.judgements for row in walk.rows)
    for name, spec in recipe.targets.items():
        rows = [row for row in walk.rows if row.step.target == name]
        judged = [judgement.verdict for row in rows for judgement in row.judgements]
        measured = any(row.step.stage.name == "benchmark" and row.outcome.measurements for row in rows)
        if name in walk.not_measured:
            verdict, why = Verdict.NOT_MEASURED, walk.not_measured[name]
        elif walk.fit is not None and walk.fit.missed_by(name):
            verdict, why = Verdict.FAIL, "no rung of the ladder holds its bounds"
        elif not measured:
            failed = Verdict.FAIL in judged
            reason = next((row.why for row in rows if row.status == "failed"), None) or "its benchmark did not run"
            verdict, why = (Verdict.FAIL, "a gate failed before its benchmark") if failed else (Verdict.NOT_MEASURED, reason)
        elif judged:
            verdict, why = worst(judged), f"{len(judged)} gates"
        else:
            verdict = Verdict.INCONCLUSIVE if nothing_judged else Verdict.PASS
            why = "measured; the recipe sets no gate on it"
        results.append(TargetVerdict(name, spec.required, verdict, why))
    return tuple(results)


def run_verdict(walk: Walk, recipe: Recipe) -> tuple[Verdict | None, int]:
    """The run's verdict, None if it could not be judged (an error, or ``--until``), and the exit code.

    Gates of a target that is not connected and only required when it is do not count. A run that judged nothing, measured no
    target, or left out one that is always required, is INCONCLUSIVE; so is a smoke run, whatever it measured, and one bounded
    by ``--until`` that left out a required target it came to.
    """
    undecided = Verdict.INCONCLUSIVE, EXIT_OF[Verdict.INCONCLUSIVE]
    excused = {name for name in walk.not_measured if recipe.targets[name].required == "when-connected"}
    counted = [row for row in walk.rows if row.step.target not in excused]
    judged = [judgement.verdict for row in counted for judgement in row.judgements]
    if walk.error is not None:
        return None, walk.error.exit_code
    if Verdict.FAIL in judged or (walk.fit is not None and walk.fit.verdict is Verdict.FAIL):
        return Verdict.FAIL, EXIT_OF[Verdict.FAIL]
    if walk.control.smoke or (walk.fit is not None and walk.fit.chosen is None):
        return undecided
    until = walk.control.until
    if until is not None and any(row.status == "skipped" and row.step.target not in walk.not_measured for row in walk.rows):
        walked = [judgement.verdict for row in counted if row.status != "skipped" for judgement in row.judgements]
        left_out = _came_to_targets(until) and any(name not in excused for name in walk.not_measured)
        return undecided if left_out or Verdict.INCONCLUSIVE in walked or Verdict.NOT_MEASURED in walked else (None, 0)
    of_targets = [target.verdict for target in target_verdicts(walk, recipe) if target.name not in excused]
    if not of_targets or not judged:
        return undecided
    verdict = worst([*judged, *of_targets])
    verdict = {Verdict.NOT_MEASURED: Verdict.INCONCLUSIVE, Verdict.WAIVED: Verdict.PASS}.get(verdict, verdict)
    return verdict, EXIT_OF[verdict]


def to_go_on(walk: Walk, recipe: Recipe) -> Control:
    """What to ask of the walk that goes on with this one: what this one did as asked is not asked for again.

    After an error everything is, and ``--from`` starts where it ended, never before where it was asked to. A smoke run is
    followed by the real one.
    """
    control = walk.control
    if walk.error is not None and control.start is not None:
        names = [stage.name for stage in CHAIN]
        reached = [row.step.stage.name for row in walk.rows if row.status in ("done", "cached", "failed")]
        return replace(control, start=max([control.start, *reached], key=names.index))
    if walk.error is not None:
        return control
    stopped_as_asked = run_verdict(walk, recipe)[0] is None
    return replace(control, start=None, until=None if stopped_as_asked else control.until, smoke=False, remeasure=False)


def _came_to_targets(until: str) -> bool:
    names = [stage.name for stage in CHAIN]
    proving = [stage.name for stage in CHAIN if stage.per_target and stage.name != "preflight"]  # which asks beforehand
    return any(name in proving for name in names[: names.index(until) + 1])
