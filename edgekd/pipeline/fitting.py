"""Climbing the ladder: rungs are sketched and timed as the chain itself would, until the largest that fits is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgekd.core import DeviceMemoryError, EdgekdError, Outcome, Verdict
from edgekd.pipeline import chain
from edgekd.pipeline.chain import Step
from edgekd.pipeline.fit import Fit, Tried, first_that_fits, judged_with_margin, words_for
from edgekd.pipeline.fit_choice import Choices
from edgekd.pipeline.judging import NO_ROOM
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.making import Maker, Renewed
from edgekd.pipeline.store import Store
from edgekd.pipeline.walk import Row
from edgekd.recipe import Recipe, Rung, asked_in_full, at_rung, bounds_to_fit, ladder
from edgekd.stages import Input


def bounded_targets(recipe: Recipe, not_measured: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Targets with a bound a rung can miss: those to be asked, and {target: why} of those that cannot be measured."""
    bounded = [target for target in recipe.targets if bounds_to_fit(recipe, target)]
    not_asked = {target: not_measured[target] for target in bounded if target in not_measured}
    return tuple(target for target in bounded if target not in not_asked), not_asked


def fitted(maker: Maker, choices: Choices) -> Fit:
    """Ask the targets and choose. maker: of a recipe with a ladder; choices: of earlier walks, and of this one afterwards.

    A choice whose student is being trained stays while it fits, unless preflight is asked to measure again. A smoke run asks
    nothing and takes the smallest rung; so does, in the end, a walk that keeps going where none fits.
    Raises what sketch and preflight raise; InputError where the walk starts later and an answer is not in the store.
    """
    recipe, control = maker.keys.recipe, maker.control
    rungs, margin = ladder(recipe), recipe.fit.margin if recipe.fit else 0.0
    targets, not_asked = bounded_targets(recipe, maker.keys.not_measured)
    if control.smoke:
        why = f"{rungs[-1].name}: a smoke run takes the smallest rung and asks no other"
        return Fit(rungs, (), rungs[-1], Verdict.INCONCLUSIVE, why, margin, not_asked)
    measures = bool(targets) and control.makes_again(Step(chain.STAGES["preflight"]))
    if not measures and (stays := _stays(maker, choices, targets, not_asked)):
        return stays
    if not targets:
        absent = "; ".join(f"{target}: {why}" for target, why in not_asked.items())
        why = f"no target that has a bound can be measured, so no rung can be chosen ({absent})"
        return Fit(rungs, (), None, Verdict.INCONCLUSIVE, why, margin, not_asked)
    tried: dict[int, Tried] = {}

    def fits(at: int) -> bool:
        tried[at] = _tried(maker, rungs[at], targets, margin, last=at == len(rungs) - 1)
        return tried[at].verdict is Verdict.PASS

    at = first_that_fits(len(rungs), fits)
    chosen = None if at is None else rungs[at]
    asked = tuple(one for _, one in sorted(tried.items()))
    why = words_for(rungs, asked, chosen, margin)
    verdict = Verdict.PASS if chosen else tried[len(rungs) - 1].verdict
    if chosen is None and control.keep_going:
        chosen, why = rungs[-1], f"{why}; --keep-going goes on with it"
    elif chosen is not None:
        choices.remember(recipe, chosen)
    return Fit(rungs, asked, chosen, verdict, why + _yet_to_ask(not_asked), margin, not_asked)


def _stays(maker: Maker, choices: Choices, targets: tuple[str, ...], not_asked: Mapping[str, str]) -> Fit | None:
    """The choice of an earlier walk, unless there is none, nothing of it is trained, or it does not fit what is asked today."""
    recipe = maker.keys.recipe
    rungs, margin, chosen = ladder(recipe), recipe.fit.margin if recipe.fit else 0.0, choices.of(maker.keys, maker.store)
    if chosen is None:
        return None
    curve: dict[Rung, Tried] = {}
    if targets:
        again = _tried(maker, chosen, targets, margin, last=chosen == rungs[-1])
        if again.verdict is not Verdict.PASS:
            return None
        curve = {**known(maker.keys, maker.store, undecided=True), chosen: again}
    asked = tuple(curve[rung] for rung in rungs if rung in curve)
    how = "" if maker.control.exams else " (--remeasure asks the ladder again)"  # which a sweep does not have
    because = f"it stays, as the training of its student has begun{how}"
    why = words_for(rungs, asked, chosen, margin, stays=because) + _yet_to_ask(not_asked)
    return Fit(rungs, asked, chosen, Verdict.PASS, why, margin, not_asked)


def _yet_to_ask(not_asked: Mapping[str, str]) -> str:
    return f"; {', '.join(not_asked)} was not asked, and may ask for a smaller one once connected" if not_asked else ""


def _tried(maker: Maker, rung: Rung, targets: tuple[str, ...], margin: float, *, last: bool) -> Tried:
    """Sketch the rung and time it on every target asked. last: the smallest, which is timed in full also if it is too slow:
    how slow is what a report must say if nothing fits."""
    recipe = at_rung(maker.keys.recipe, rung)
    own, sketching = maker.of(recipe), Step(chain.STAGES["sketch"])
    sketch = _step(own, sketching, {}, rung)
    given = {sketching.name: Input(sketch.outcome, maker.store.folder / str(sketch.key))}
    rows = {}
    for target in targets:
        step = Step(chain.STAGES["preflight"], target)

        row = _step(own, step, given, rung, lambda step, outcome, recipe: _undecided(step, outcome, recipe, margin))
        if last and row.outcome.notes.get("cut_short") and not maker.control.takes_as_it_is(step):
            row = _step(maker.of(asked_in_full(recipe)), step, given, rung, _was_cut_short)
        rows[target] = row
    answers = {target: row.outcome for target, row in rows.items()}
    keys = {row.step.name: str(row.key) for row in (sketch, *rows.values())}
    cached = all(row.status == "cached" for row in (sketch, *rows.values()))
    return _answered(recipe, rung, sketch.outcome, answers, margin, keys, cached=cached)


def _answered(
    recipe: Recipe,
    rung: Rung,
    sketch: Outcome,
    answers: Mapping[str, Outcome],
    margin: float,
    keys: Mapping[str, str],
    *,
    cached: bool,
) -> Tried:
    """answers: {target: outcome of its preflight}."""
    no_room = {target: str(outcome.notes[NO_ROOM]) for target, outcome in answers.items() if outcome.notes.get(NO_ROOM)}
    timed = {target: outcome for target, outcome in answers.items() if target not in no_room}
    judged = [one for target, outcome in timed.items() for one in judged_with_margin(recipe, target, outcome, margin)]
    return Tried(rung, tuple(judged), no_room, sketch.notes.get("parameters"), sketch.notes.get("macs"), keys, cached)


def _undecided(step: Step, outcome: Outcome, recipe: Recipe, margin: float) -> bool:
    """A number that decides nothing is measured again: it was suspect, or of a look that another bound cut short."""
    verdicts = {one.verdict for one in judged_with_margin(recipe, str(step.target), outcome, margin)}
    again = {Verdict.INCONCLUSIVE, *([Verdict.NOT_MEASURED] if outcome.notes.get("cut_short") else [])}
    return Verdict.FAIL not in verdicts and bool(again & verdicts)


def _was_cut_short(step: Step, outcome: Outcome, recipe: Recipe) -> bool:
    return bool(outcome.notes.get("cut_short"))


def _step(maker: Maker, step: Step, given: Mapping[str, Input], rung: Rung, renewed: Renewed | None = None) -> Row:
    """Take one step of a rung; heard of under a name that tells the rung. That a device lacks memory for it is an answer too."""
    name = f"fit, {rung.name}: {step.name}"
    maker.listen({"event": "start", "step": name})
    row = Row(step, "failed")
    try:
        try:
            taken = maker.take(step, given, name, renewed)
        except DeviceMemoryError as short:
            maker.listen({"event": "note", "text": f"{name}: it does not fit: {short}"})
            taken = maker.keep(step, given, Outcome(notes={NO_ROOM: short.what}))
        row = Row(step, "done" if taken.made else "cached", taken.stored.outcome, (), taken.key, taken.stored.seconds)
        row = replace(row, age_s=taken.stored.age_s)
        return row
    except EdgekdError as problem:
        row = replace(row, why=str(problem))
        raise
    finally:
        maker.listen({"event": "end", "step": name, "status": row.status, "row": row})


def known(keys: Keys, store: Store, *, undecided: bool = False) -> dict[Rung, Tried]:
    """What the store knows of the rungs, without touching anything. undecided: also of one whose answer would be asked again, and
    of one that does not fit one target and was never asked of another."""
    recipe = keys.recipe
    margin = recipe.fit.margin if recipe.fit else 0.0
    targets, _ = bounded_targets(recipe, keys.not_measured)
    rungs = ladder(recipe) if targets else ()
    found = {rung: _remembered(keys.of(at_rung(recipe, rung)), store, rung, targets, margin, undecided) for rung in rungs}
    return {rung: tried for rung, tried in found.items() if tried is not None}


def _remembered(keys: Keys, store: Store, rung: Rung, targets: tuple[str, ...], margin: float, undecided: bool) -> Tried | None:
    sketching = Step(chain.STAGES["sketch"])
    sketch = store.peek(key_of(keys.parts(sketching, {})))
    if sketch is None:
        return None
    answers, made = {}, {sketching.name: sketch.key}
    for target in targets:
        step = Step(chain.STAGES["preflight"], target)
        timed = store.peek(key_of(keys.parts(step, {sketching.name: sketch.outcome})))
        if timed is not None and (undecided or not _undecided(step, timed.outcome, keys.recipe, margin)):
            answers[target], made[step.name] = timed.outcome, timed.key
        elif not undecided:
            return None
    found = _answered(keys.recipe, rung, sketch.outcome, answers, margin, made, cached=True)
    return found if len(answers) == len(targets) or found.verdict is Verdict.FAIL else None
