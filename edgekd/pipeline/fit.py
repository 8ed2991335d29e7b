"""Which rung of the ladder fits: what is asked of a rung, how the answers choose one, and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgekd.core import Judgement, Outcome, Verdict, judge, worst
from edgekd.pipeline.fit_words import asked, missed, needs, would
from edgekd.pipeline.judging import FASTEST, measured
from edgekd.recipe import Recipe, Rung, bounds_to_fit

FIT_FILE = "fit.json"  # of a run or a sweep: choice and curve


@dataclass(frozen=True)
class Tried:
    """A rung that was measured. judged: every bound less the margin, on every target asked; no_room: {target: why} of those that
    lacked the memory to build or run it. cached: nothing of it was made by this walk. macs: multiplications of one image, None
    if its sketch did not tell."""

    rung: Rung
    judged: tuple[Judgement, ...]
    no_room: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    macs: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    cached: bool = False

    @property
    def verdict(self) -> Verdict:
        """PASS: it fits; FAIL: it does not; INCONCLUSIVE: what was measured decides neither."""
        verdict = Verdict.FAIL if self.no_room else worst(one.verdict for one in self.judged)
        return verdict if verdict in (Verdict.PASS, Verdict.FAIL) else Verdict.INCONCLUSIVE

    @property
    def why(self) -> str:
        """What speaks against it, in words; empty if it fits."""
        against = [one for one in self.judged if one.verdict is self.verdict is Verdict.FAIL]
        if self.verdict is not Verdict.FAIL:
            against = [one for one in self.judged if one.verdict is not Verdict.PASS]
        return "; ".join([*self.lacks, *(f"{asked(one)}{missed(one)}" for one in against)])

    @property
    def lacks(self) -> list[str]:
        """Of each target that lacked memory, in words."""
        return [f"{target} lacks the memory for it ({why})" for target, why in self.no_room.items()]


@dataclass(frozen=True)
class Fit:
    """What became of the ladder. rungs: all of it, most work first. chosen: what the walk goes on with, None if nothing.

    verdict: PASS, the chosen one fits; FAIL, none does; INCONCLUSIVE, it could not be decided, or was not asked. not_asked:
    {target: why} of those with bounds that cannot be measured here.
    """

    rungs: tuple[Rung, ...]
    tried: tuple[Tried, ...]
    chosen: Rung | None
    verdict: Verdict
    why: str
    margin: float
    not_asked: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        by_rung = {one.rung: one for one in self.tried}
        return {
            "verdict": self.verdict.value,
            "why": self.why,
            "chosen": _json_of(self.chosen) if self.chosen else None,
            "margin": self.margin,
            "rungs": [_row(rung, by_rung.get(rung)) for rung in self.rungs],
            "would": [would(one, self.margin) for one in self._missed()],
            "not_asked": dict(self.not_asked),
        }

    def missed_by(self, target: str) -> bool:
        """Whether this target is why no rung fits."""
        lack = [name for one in self._smallest() for name in one.no_room]
        return target in lack or any(one.gate.target == target for one in self._missed())

    def _missed(self) -> list[Judgement]:
        return [one for tried in self._smallest() for one in tried.judged if one.verdict is Verdict.FAIL]

    def _smallest(self) -> list[Tried]:
        """The smallest rung, when none fits."""
        return [one for one in self.tried if self.verdict is Verdict.FAIL and one.rung == self.rungs[-1]]


def first_that_fits(count: int, fits: Callable[[int], bool]) -> int | None:
    """The first of ``count`` rungs that fits, by bisection: O(log count) questions, each asked once.

    Where all rungs below one that fits do fit, it is the very first. Whatever the answers, the returned one was asked and fits,
    and the one before it, if there is one, was asked and does not; None: the last was asked and does not fit.
    """
    too_large, enough = -1, count
    while enough - too_large > 1:
        middle = (too_large + enough) // 2
        too_large, enough = (too_large, middle) if fits(middle) else (middle, enough)
    return enough if enough < count else None


def judged_with_margin(recipe: Recipe, target: str, outcome: Outcome, margin: float) -> tuple[Judgement, ...]:
    """Every bound of the target, less the margin, on what preflight measured of a rung.

    Where conditions were suspect, or the measurement was cut short, the fastest of all queries may still say no: other work
    slows queries and never hastens one.
    """
    judged = []
    for bound in bounds_to_fit(recipe, target):
        inherited = f"gates.{bound.stage}.{bound.target}.{bound.metric}"
        less = replace(bound, stage="preflight", limit=bound.limit * (1 - margin), inherited=inherited)
        found = judge(less, measured(outcome, less))
        fastest = replace(less, metric=FASTEST, confidence=None)
        if bound.metric.startswith("latency_ms.") and found.verdict not in (Verdict.PASS, Verdict.FAIL):
            least = judge(fastest, measured(outcome, fastest))
            if least.verdict is Verdict.FAIL:
                found = replace(least, why=f"even the fastest of {least.measurement.n if least.measurement else 0:,} queries")
        judged.append(found)
    return tuple(judged)


def words_for(rungs: Sequence[Rung], tried: Sequence[Tried], chosen: Rung | None, margin: float, *, stays: str = "") -> str:
    """Why this rung, or why none. stays: why one that an earlier walk chose is not asked for again."""
    by_rung = {one.rung: one for one in tried}
    less = f" less {margin:.3g}" if margin else ""
    every = f"every bound{f' less {100 * margin:g} %' if less else ''}"
    if chosen is None:
        smallest = by_rung[rungs[-1]]
        if smallest.verdict is Verdict.FAIL:
            misses = [needs(one, margin) for one in smallest.judged if one.verdict is Verdict.FAIL]
            must = "; ".join([*smallest.lacks, *misses])
            return f"no rung of the ladder holds {every}; the smallest, {rungs[-1].name}: {must}"
        return f"no rung could be shown to hold {every}; the smallest, {rungs[-1].name}: {smallest.why}"
    kept = f"; {stays}" if stays else ""
    if chosen not in by_rung:
        return f"{chosen.name}, which an earlier run chose, held {every}{kept}"
    at = rungs.index(chosen)
    text = f"{chosen.name}, the largest of {len(rungs)} that holds {every}"
    if at == 0:
        return f"{chosen.name}, the largest of the ladder, holds {every}"
    larger = by_rung.get(rungs[at - 1])
    if larger is None or larger.verdict is Verdict.PASS:
        return f"{chosen.name}, which an earlier run chose, holds {every}{kept}"
    if larger.verdict is Verdict.FAIL:
        return f"{text}; the next larger, {larger.rung.name}, does not: {larger.why}"
    return f"{text}; whether the next larger, {larger.rung.name}, does could not be decided: {larger.why}{kept}"


def _json_of(rung: Rung) -> dict[str, Any]:
    return {"width": rung.width, "image_size": list(rung.height_width)}


def _row(rung: Rung, tried: Tried | None) -> dict[str, Any]:
    if tried is None:
        return {**_json_of(rung), "fits": "not asked"}
    fits = {Verdict.PASS: "yes", Verdict.FAIL: "no"}.get(tried.verdict, "undecided")
    return {
        **_json_of(rung),
        "fits": fits,
        "why": tried.why,
        "parameters": tried.parameters,
        "macs": tried.macs,
        "bounds": [one.as_json() for one in tried.judged],
        "no_room": dict(tried.no_room),
        "keys": dict(tried.keys),
        "cached": tried.cached,
    }
