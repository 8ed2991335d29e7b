"""Taking one step: what the store has of it is reused, the rest is made, torch steps in the worker and the others here."""

from __future__ import annotations

import copy
import math
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from edgekd.core import EdgekdError, EnvironmentProblem, InputError, Outcome
from edgekd.pipeline.chain import OPEN_TEST, Step
from edgekd.pipeline.control import Control
from edgekd.pipeline.judging import NO_ROOM, to_be_renewed
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.state import Openings
from edgekd.pipeline.store import Store, Stored
from edgekd.pipeline.worker import Worker
from edgekd.recipe import Recipe
from edgekd.stages import Context, Input
from edgekd.stages.worker import call_stage

LEAST_FREE_BYTES = 200 * 2**20  # a run of the shipped recipe writes about 120 MB
Listener = Callable[[Mapping[str, Any]], None]
Renewed = Callable[[Step, Outcome, Recipe], bool]


class Taken(NamedTuple):
    """A finished step. parts: what its key is made of; made: by this walk, not found in the store."""

    stored: Stored
    key: str
    parts: Mapping[str, Any]
    made: bool


class Maker:
    """Takes steps of one recipe, for one walk."""

    def __init__(self, keys: Keys, store: Store, control: Control, worker: Worker, openings: Openings, listen: Listener) -> None:
        self.keys, self.store, self.control = keys, store, control
        self.worker, self.openings, self.listen = worker, openings, listen
        self._wait_s = math.inf if control.exams else 0.0  # for another run that makes the same step
        self._made: set[str] = set()  # keys: what this walk made is not made again by it

    def of(self, recipe: Recipe) -> Maker:
        """For the same walk, of a recipe with another student or image size."""
        other = copy.copy(self)
        other.keys = self.keys.of(recipe)
        return other

    def take(
        self,
        step: Step,
        inputs: Mapping[str, Input],
        name: str,
        renewed: Renewed | None = None,
    ) -> Taken:
        """Reuse the step or make it. inputs: by step name; name: what a person calls it; renewed: whether a measurement in the
        store is to be taken again, ``to_be_renewed`` if None. Raises what the stage raises, with the step's name as its place."""
        try:
            parts = self.keys.parts(step, {need: given.outcome for need, given in inputs.items()})
            key = key_of(parts)
            stored = self._reusable(step, key, name, renewed)
            made = stored is None or key in self._made
            if stored is None:
                stored = self._make(step, key, parts, inputs, name)
                self._made.add(key)
        except EdgekdError as problem:
            if problem.where == step.stage.entry:
                problem.where = name
            if problem.__cause__ is not None and problem.code == EdgekdError.code:  # a bug in a stage that ran here
                self.worker.write_down(problem, "".join(traceback.format_exception(problem)))
            raise
        return Taken(stored, key, parts, made)

    def keep(self, step: Step, inputs: Mapping[str, Input], outcome: Outcome) -> Taken:
        """Put an outcome into the store that says why the step cannot be made, as the answer to who asks whether it can."""
        parts = self.keys.parts(step, {need: given.outcome for need, given in inputs.items()})
        key = key_of(parts)
        with self.store.lock(key, wait_s=self._wait_s), self.store.new_folder(key) as folder:
            stored = self.store.commit(key, folder, outcome, 0.0, parts)
        self._made.add(key)
        return Taken(stored, key, parts, True)

    def require_stored(self, step: Step, outcomes: Mapping[str, Outcome]) -> Stored:
        """The step as the store has it, for a walk that starts after it. Raises InputError: nothing is made by surprise."""
        key = key_of(self.keys.parts(step, outcomes))
        stored = self.store.find(key)
        return stored if stored and not stored.outcome.notes.get(NO_ROOM) else self._not_stored(step, key)

    def _not_stored(self, step: Step, key: str) -> NoReturn:
        start = self.control.start
        what = f"the walk cannot start at {start}: no finished {step.name} of this recipe is in the store"
        fix = f"give --until {step.stage.name} in place of --from {start} to make it"
        raise InputError(what, where="--from", seen=f"key {key}", fix=fix)

    def _reusable(self, step: Step, key: str, name: str, renewed: Renewed | None) -> Stored | None:
        """What the store has of this step, unless it is to be made again."""
        fresh, as_it_is = key in self._made, self.control.takes_as_it_is(step)
        stored = None if self.control.makes_again(step) and not fresh else self.store.find(key)
        while self.store.set_aside:
            rest = f"it is made again, the rest is {self.store.set_aside.pop()}"
            self.listen({"event": "note", "text": f"{name}: its stored result was damaged; {rest}"})
        if as_it_is:
            nothing = stored is None or (renewed is None and stored.outcome.notes.get(NO_ROOM))
            return self._not_stored(step, key) if nothing else stored
        if stored is None or (fresh and renewed is None):
            return stored
        return None if (renewed or to_be_renewed)(step, stored.outcome, self.keys.recipe) else stored

    def _make(self, step: Step, key: str, parts: Mapping[str, Any], inputs: Mapping[str, Input], name: str) -> Stored:
        self._require_disk()

        def say(event: Mapping[str, Any]) -> None:
            self.listen({"event": "progress", "step": name, **event})

        with self.store.lock(key, wait_s=self._wait_s), self.store.new_folder(key) as folder:
            if self.control.exams and (stored := self._reusable(step, key, name, None)) is not None:
                return stored  # made while this one waited
            started = time.monotonic()
            if step.stage.name in OPEN_TEST and not self.control.smoke:
                self.openings.add(self.keys.described.digest)
            if step.stage.torch:
                outcome = self.worker.run(self._request(step, key, folder, inputs), say)
            else:
                self.worker.close()  # its memory is free, and nothing of ours computes, before a device is timed
                recipe, smoke, reach = self.keys.recipe, self.control.smoke, self.keys.reach
                place, kept = self.store.folder, self.store.checkpoint(key)
                context = Context(recipe, folder, inputs, step.target, place, say, smoke=smoke, checkpoint=kept, reach=reach)
                outcome = call_stage(step.stage.entry, context)
            return self.store.commit(key, folder, outcome, time.monotonic() - started, parts)

    def _request(self, step: Step, key: str, folder: Path, inputs: Mapping[str, Input]) -> dict[str, Any]:
        return {
            "entry": step.stage.entry,
            "recipe": {**self.keys.recipe.as_json(), "folder": str(self.keys.recipe.folder)},
            "folder": str(folder.resolve()),
            "target": step.target,
            "cache": str(self.store.folder.resolve()),
            "smoke": self.control.smoke,
            "last": step.stage.name == self.control.until,
            "checkpoint": str(self.store.checkpoint(key).resolve()),
            "inputs": {
                need: {"outcome": given.outcome.as_json(), "folder": str(given.folder.resolve())}
                for need, given in inputs.items()
            },
        }

    def _require_disk(self) -> None:
        self.store.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.store.folder).free
        if free < LEAST_FREE_BYTES:
            need = f"{LEAST_FREE_BYTES / 2**20:.0f} MB"
            fix = "free some space, or choose another --run-dir"
            raise EnvironmentProblem(
                f"less than {need} free on the disk", where=str(self.store.folder), seen=f"{free / 2**20:.0f} MB", fix=fix
            )
