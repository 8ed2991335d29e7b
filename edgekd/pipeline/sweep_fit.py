"""A sweep of students whose width is chosen: once for all arms and seeds that ask the same, so that equals are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekd.core import InputError
from edgekd.core.files import write_json
from edgekd.pipeline.arms import Arm
from edgekd.pipeline.control import Control
from edgekd.pipeline.fit import FIT_FILE, Fit
from edgekd.pipeline.fit_choice import CHOICE_FILE, Choices, question_of
from edgekd.pipeline.fitting import fitted
from edgekd.pipeline.keys import Keys
from edgekd.pipeline.making import Listener, Maker
from edgekd.pipeline.state import Openings
from edgekd.pipeline.store import Store
from edgekd.pipeline.worker import Worker
from edgekd.recipe import Recipe, at_rung


def with_numbers(arms: Sequence[Arm], folder: Path, store: Path, listen: Listener) -> tuple[tuple[Arm, ...], list[str]]:
    """The arms with the width and image size that fit, and a sentence for each ladder; folder: of the sweep, for fit.json.

    Raises InputError: nothing fits, or nothing could be asked, so there is no student to compare.
    """
    fits: dict[str, Fit] = {}
    with Worker(folder / "worker.log") as worker:
        for recipe in (one for arm in arms for one in arm.recipes.values() if one.fit is not None):
            if question_of(recipe) not in fits:
                keys, openings = Keys(recipe, store / "digests.json"), Openings(store / "test_opened.json")
                maker = Maker(keys, Store(store), Control(exams=True), worker, openings, listen)
                fits[question_of(recipe)] = _some_student(fitted(maker, Choices(folder / CHOICE_FILE)))

    def settled(recipe: Recipe) -> Recipe:
        chosen = fits[question_of(recipe)].chosen if recipe.fit is not None else None
        return at_rung(recipe, chosen) if chosen else recipe

    if fits:
        write_json(folder / FIT_FILE, [fit.as_json() for fit in fits.values()])
        arms = [replace(arm, recipes={seed: settled(recipe) for seed, recipe in arm.recipes.items()}) for arm in arms]
    return tuple(arms), [f"student.width: auto: {fit.why}" for fit in fits.values()]


def _some_student(fit: Fit) -> Fit:
    if fit.chosen is None:
        fix = "a smaller width or image_size in fit, another bound, or student.width as a number"
        raise InputError(f"there is no student to compare: {fit.why}", where="student.width", seen="auto", fix=fix)
    return fit
