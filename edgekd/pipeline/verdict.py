"""One verdict and one exit code for a walked chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekd.core import Verdict, worst
from edgekd.pipeline.chain import CHAIN
from edgekd.pipeline.runner import Walk
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
    for name, spec in recipe.targets.items():
        rows = [row for row in walk.rows if row.step.target == name]
        judged = [judgement.verdict for row in rows for judgement in row.judgements]
        measured = any(row.step.stage.name == "benchmark" and row.outcome.measurements for row in rows)
        if name in walk.not_measured:
            verdict, why = Verdict.NOT_MEASURED, walk.not_measured[name]
        elif not measured:
            failed = Verdict.FAIL in judged
            reason = next((row.why for row in rows if row.status == "failed"), None) or "its benchmark did not run"
            verdict, why = (Verdict.FAIL, "a gate failed before its benchmark") if failed else (Verdict.NOT_MEASURED, reason)
        else:
            verdict = worst(judged) if judged else Verdict.PASS
            why = f"{len(judged)} gates" if judged else "measured; the recipe sets no gate on it"
        results.append(TargetVerdict(name, spec.required, verdict, why))
    return tuple(results)


def run_verdict(walk: Walk, recipe: Recipe) -> tuple[Verdict | None, int]:
    """The run's verdict, None if it could not be judged (an error, or ``--until``), and the exit code.

    Gates of a target that is not connected and only required when it is do not count. A run that measured no target, or left
    out one that is always required, is INCONCLUSIVE; so is one bounded by ``--until`` that came as far as the targets.
    """
    excused = {name for name in walk.not_measured if recipe.targets[name].required == "when-connected"}
    judged = [j.verdict for row in walk.rows if row.step.target not in excused for j in row.judgements]
    if walk.error is not None:
        return None, walk.error.exit_code
    if Verdict.FAIL in judged:
        return Verdict.FAIL, EXIT_OF[Verdict.FAIL]
    if walk.until is not None and any(row.status == "skipped" and row.step.target not in walk.not_measured for row in walk.rows):
        walked = [j.verdict for row in walk.rows if row.status != "skipped" for j in row.judgements]
        left_out = _came_to_targets(walk.until) and any(name not in excused for name in walk.not_measured)
        undecided = left_out or Verdict.INCONCLUSIVE in walked or Verdict.NOT_MEASURED in walked
        return (Verdict.INCONCLUSIVE, EXIT_OF[Verdict.INCONCLUSIVE]) if undecided else (None, 0)
    targets = target_verdicts(walk, recipe)
    counted = [target.verdict for target in targets if target.name not in excused]
    if not counted:
        return Verdict.INCONCLUSIVE, EXIT_OF[Verdict.INCONCLUSIVE]
    verdict = worst([*judged, *counted])
    verdict = {Verdict.NOT_MEASURED: Verdict.INCONCLUSIVE, Verdict.WAIVED: Verdict.PASS}.get(verdict, verdict)
    return verdict, EXIT_OF[verdict]


def _came_to_targets(until: str) -> bool:
    names = [stage.name for stage in CHAIN]
    return any(stage.per_target for stage in CHAIN[: names.index(until) + 1])
