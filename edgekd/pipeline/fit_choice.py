"""What earlier walks into a folder chose of a ladder: while that fits, it stays, once its student is being trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.core import Outcome, digest
from edgekd.core.files import write_json
from edgekd.pipeline import chain
from edgekd.pipeline.chain import Step
from edgekd.pipeline.keys import ONLY_REACHES, Keys, key_of
from edgekd.pipeline.state import remembered
from edgekd.pipeline.store import Store
from edgekd.recipe import Recipe, Rung, at_rung, bounds_to_fit, ladder

CHOICE_FILE = "fit_choice.json"  # of a run or a sweep


def question_of(recipe: Recipe) -> str:
    """A digest of what decides which rung fits. Seeds and how a network is trained move no latency."""
    kept = recipe.as_json()
    bounds = [vars(bound) for target in recipe.targets for bound in bounds_to_fit(recipe, target)]
    targets = {name: {key: one[key] for key in one if key not in ONLY_REACHES} for name, one in kept["targets"].items()}
    asked = {
        "student": kept["student"],
        "margin": recipe.fit.margin if recipe.fit else None,
        "bounds": bounds,
        "targets": targets,
    }
    return digest({**asked, "rungs": [_as_json(rung) for rung in ladder(recipe)]})


class Choices:
    """In one small file; a missing or damaged one remembers nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, keys: Keys, store: Store) -> Rung | None:
        """The rung last chosen for the same question, if the training of its student has begun: it is not to be thrown away
        because a device is not connected today, or a number that was suspect is not any more."""
        kept = remembered(self._path).get(question_of(keys.recipe))
        chosen = next((rung for rung in ladder(keys.recipe) if _as_json(rung) == kept), None)
        return chosen if chosen and _begun(keys.of(at_rung(keys.recipe, chosen)), store) else None

    def remember(self, recipe: Recipe, rung: Rung) -> None:
        before, question = remembered(self._path), question_of(recipe)
        if before.get(question) != _as_json(rung):
            write_json(self._path, {**before, question: _as_json(rung)})


def _as_json(rung: Rung) -> Mapping[str, Any]:
    return {"width": rung.width, "image_size": list(rung.height_width)}


def _begun(keys: Keys, store: Store) -> bool:
    """Whether the store has the student, or a stopped training of it or of its teacher."""
    outcomes: dict[str, Outcome] = {}
    for step in (Step(chain.STAGES["teacher"]), Step(chain.STAGES["distill"])):
        key = key_of(keys.parts(step, outcomes))
        stored = store.peek(key)
        if stored is None:
            return store.checkpoint(key).exists()
        outcomes[step.name] = stored.outcome
    return True
