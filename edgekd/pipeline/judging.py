"""What a step is judged by: the recipe's gates on it, and, before training, the latency bounds that no training helps to hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgekd.core import Gate, Judgement, Measurement, Outcome, Verdict, judge
from edgekd.pipeline.chain import Step
from edgekd.recipe import Recipe

FASTEST = "latency_ms.fastest"  # of all queries of the untrained student; see edgekd.stages.preflight
NO_ROOM = "no_room"  # a note: why there are no measurements, where the device lacked memory for a rung


def judgements(step: Step, outcome: Outcome, recipe: Recipe, *, smoke: bool = False) -> tuple[Judgement, ...]:
    """The step's gates on what it measured; at preflight also the tightest latency bound of the target on the fastest query.

    smoke: none is decided, whatever was measured.
    """
    own = [judge(gate, measured(outcome, gate)) for gate in recipe.gates_of(step.stage.name, step.target)]
    hopeless = _on_the_fastest(step, outcome, recipe) if step.stage.name == "preflight" else ()
    return tuple(_left_open(one) if smoke else one for one in (*own, *hopeless))


def to_be_renewed(step: Step, outcome: Outcome, recipe: Recipe) -> bool:
    """Whether a step on a device is measured again: a gate asks for a number that was taken under suspect conditions, the
    measurement was cut short because a bound of that time was out of reach, or the device lacked memory for it."""
    if not step.stage.per_target:
        return False
    if outcome.notes.get("cut_short") or outcome.notes.get(NO_ROOM):
        return True
    asked = [measured(outcome, gate) for gate in recipe.gates_of(step.stage.name, step.target) if gate.waive is None]
    return any(one is not None and one.suspect for one in asked)


def measured(outcome: Outcome, gate: Gate) -> Measurement | None:
    return next((one for one in outcome.measurements if one.name == gate.metric), None)


def _left_open(judged: Judgement) -> Judgement:
    if judged.verdict is Verdict.NOT_MEASURED:
        return judged
    return replace(judged, verdict=Verdict.INCONCLUSIVE, why="a smoke run judges nothing", n_needed=None)


def _on_the_fastest(step: Step, outcome: Outcome, recipe: Recipe) -> Iterator[Judgement]:
    """No judgement where nothing was measured or nothing bounds the latency: the benchmark's own gates say so."""
    tightest = recipe.tightest_latency(step.target)
    fastest = next((one for one in outcome.measurements if one.name == FASTEST), None)
    if tightest is None or fastest is None:
        return
    key = f"gates.{tightest.stage}.{tightest.target}.{tightest.metric}"
    judged = judge(replace(tightest, stage="preflight", metric=FASTEST, confidence=None, inherited=key), fastest)
    why = {
        Verdict.FAIL: f"even the fastest of {fastest.n:,} queries is slower than {key} allows: no training will make it faster",
        Verdict.PASS: f"{key} is not out of reach",
    }
    yield replace(judged, why=why.get(judged.verdict, judged.why))
