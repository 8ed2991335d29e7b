"""The runner: walk the steps, reuse what the store has, make the rest, judge every gate, stop where one fails."""

from __future__ import annotations

import math
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from edgekd import data, targets
from edgekd.core import (
    EdgekdError,
    EnvironmentProblem,
    InputError,
    Interrupted,
    Outcome,
    Verdict,
    digest,
)
from edgekd.core.files import disk_problems
from edgekd.core.lock import locked
from edgekd.pipeline.chain import OPEN_TEST, Step, needed_steps, steps
from edgekd.pipeline.control import Control
from edgekd.pipeline.judging import judgements, to_be_renewed
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.ready import require_enough_images, require_ready
from edgekd.pipeline.state import Openings, State
from edgekd.pipeline.store import Store, Stored
from edgekd.pipeline.walk import Row, Walk
from edgekd.pipeline.worker import Worker
from edgekd.recipe import Recipe
from edgekd.stages import Context, Input, smoke
from edgekd.stages.worker import call_stage

LEAST_FREE_BYTES = 200 * 2**20  # a run of the shipped recipe writes about 120 MB
Listener = Callable[[Mapping[str, Any]], None]


def store_of(run_dir: Path, default_runs: Path) -> Path:
    """Runs in the default place share one store; a run elsewhere keeps its own inside, and can be moved whole."""
    return run_dir.parent / ".store" if run_dir.parent.resolve() == default_runs.resolve() else run_dir / ".store"


class Runner:
    """Walks one recipe into one run folder. Use ``walk`` once."""

    def __init__(
        self, recipe: Recipe, run_dir: Path, store: Store, listen: Listener, control: Control,
        reach: targets.Reach | None = None,
    ) -> None:  # fmt: skip
        """reach: where the recipe's devices are; None: as recipe and environment say."""
        control.check()
        self.recipe = smoke.shortened(recipe) if control.smoke else recipe
        self.run_dir, self.store, self.listen, self.control = run_dir, store, listen, control
        self.keys = Keys(self.recipe, store.folder / "digests.json", reach=reach, smoke=control.smoke)
        self.target_names = tuple(recipe.targets)
        self.steps = tuple(steps(self.target_names, exams=control.exams))
        self.wanted = frozenset(steps(self.target_names, control.until, exams=control.exams))
        self.state = State(run_dir / "state.json")
        self.openings = Openings(store.folder / "test_opened.json")
        self.not_measured = self.keys.not_measured
        self.rows: dict[Step, Row] = {}

    def walk(self) -> Walk:
        """Run, reuse or skip every step. Errors of a step end the walk and are returned in it. What keeps a walk from starting
        (a recipe that cannot be run, the run's lock, nothing to start from) is raised, and the folder stays as it was."""
        require_ready(self.recipe)
        error: EdgekdError | None = None
        described: data.Description | None = None
        with locked(self.run_dir / ".lock", f"the run {self.run_dir}"), Worker(self.run_dir / "worker.log") as worker:
            self._require_what_comes_before()
            self.state.claim(smoke=self.control.smoke)
            try:
                described = self._described()
                require_enough_images(self.recipe, described.counts["train"], {step.stage.name for step in self.wanted})
                for _, of_stage in groupby(self.steps, key=lambda step: step.stage):
                    for step in (step for step in of_stage if step in self.wanted):
                        self._take(step, worker)
                    if self._failed() and not self.control.keep_going:
                        break
            except EdgekdError as problem:
                error = problem
                with suppress(Interrupted):  # a second signal kills the worker, and the report is still written
                    worker.close()
            rows = tuple(self.rows.get(step) or self._not_reached(step, error) for step in self.steps)
            if self._failed() or not isinstance(error, Interrupted):
                self._withdraw_bundle(rows, described)
        opened = self.openings.of(described.digest) if described else None
        return Walk(rows, error, self.not_measured, self.control, opened, described)

    def _described(self) -> data.Description:
        """The images; where the run before this one in the folder had others, their notes say so, and so does the log at once."""
        described = self.keys.described
        changed = self.state.see_images(described)
        if changed is None:
            return described
        self.listen({"event": "note", "text": changed})
        return replace(described, notes=(*described.notes, changed))

    def _require_what_comes_before(self) -> None:
        """With ``--from``: raise InputError unless every step before it is in the store; nothing is trained by surprise."""
        outcomes: dict[Step, Outcome] = {}
        for step in (one for one in self.steps if self.control.takes_as_it_is(one) and not self.keys.why_not_taken(one)):
            parts = self.keys.parts(step, {need.name: outcomes[need] for need in self._inputs_of(step)})
            stored = self.store.find(key_of(parts))
            if stored is None:
                what = f"the walk cannot start at {self.control.start}: no finished {step.name} of this recipe is in the store"
                fix = f"give --until {step.stage.name} in place of --from {self.control.start} to make it"
                raise InputError(what, where="--from", seen=f"key {key_of(parts)}", fix=fix)
            outcomes[step] = stored.outcome

    def _failed(self) -> bool:
        return any(judged.verdict is Verdict.FAIL for row in self.rows.values() for judged in row.judgements)

    def _withdraw_bundle(self, rows: tuple[Row, ...], described: data.Description | None) -> None:
        """A bundle does not stay where an app looks for it when this walk failed, nor when it is of another recipe or other
        images than this walk's."""
        now_of = digest({"recipe": self.recipe.as_json(), "images": described.digest}) if described else self.state.bundle_of
        for row in (row for row in rows if row.step.stage.name == "bundle"):
            not_made = row.status in ("failed", "skipped")
            if self._failed() or (not_made and (row.step in self.wanted or self.state.bundle_of != now_of)):
                shutil.rmtree(self.run_dir / row.step.name, ignore_errors=True)
                now_of = ""
            self.state.bundle_is_of(now_of)

    def _take(self, step: Step, worker: Worker) -> None:
        if why := self.keys.why_not_taken(step):
            self._finish(Row(step, "skipped", why=why))
            return
        if step.stage.name == "bundle" and self._failed():  # in a walk that keeps going
            self._finish(Row(step, "skipped", why="withheld: a gate failed; one with waive lets a miss through"))
            return
        self.listen({"event": "start", "step": step.name})
        started = time.monotonic()
        try:
            with disk_problems(self.run_dir):
                inputs = {need.name: self.rows[need] for need in self._inputs_of(step)}
                parts = self.keys.parts(step, {name: row.outcome for name, row in inputs.items()})
                key = key_of(parts)
                stored = self._reusable(step, key)
                status = "cached" if stored else "done"
                if stored is None:
                    stored = self._make(step, key, parts, inputs, worker)
                self.store.place(stored, self.run_dir / step.name)
        except EdgekdError as problem:
            if problem.where == step.stage.entry:
                problem.where = step.name  # what a person calls it
            if problem.__cause__ is not None and problem.code == EdgekdError.code:  # a bug in a stage that ran here
                worker.write_down(problem, "".join(traceback.format_exception(problem)))
            self._finish(Row(step, "failed", seconds=time.monotonic() - started, why=str(problem)))
            raise
        age = stored.age_s if status == "cached" else None
        why = f"files and commands only: {self.not_measured[step.target]}" if step.target in self.not_measured else None
        self._finish(Row(step, status, stored.outcome, (), key, stored.seconds, age, why, parts["source"]))

    def _reusable(self, step: Step, key: str) -> Stored | None:
        """What the store has of this step, unless it is to be made again."""
        stored = None if self.control.makes_again(step) else self.store.find(key)
        while self.store.set_aside:
            rest = f"it is made again, the rest is {self.store.set_aside.pop()}"
            self.listen({"event": "note", "text": f"{step.name}: its stored result was damaged; {rest}"})
        if stored and not self.control.takes_as_it_is(step) and to_be_renewed(step, stored.outcome, self.recipe):
            return None
        return stored

    def _make(self, step: Step, key: str, parts: Mapping[str, Any], inputs: Mapping[str, Row], worker: Worker) -> Stored:
        self._require_disk()
        wait_s = math.inf if self.control.exams else 0.0
        with self.store.lock(key, wait_s=wait_s), self.store.new_folder(key) as folder:
            if self.control.exams and (stored := self._reusable(step, key)) is not None:  # made while this one waited
                return stored
            started = time.monotonic()
            if step.stage.name in OPEN_TEST and not self.control.smoke:
                self.openings.add(self.keys.described.digest)
            if step.stage.torch:
                outcome = worker.run(self._request(step, key, folder, inputs), lambda event: self._progress(step, event))
            else:
                worker.close()  # its memory is free, and nothing of ours computes, before a device is timed
                given = {name: Input(row.outcome, self.run_dir / row.step.name) for name, row in inputs.items()}
                say: Listener = lambda event: self._progress(step, event)  # noqa: E731
                cache, smoke = self.store.folder, self.control.smoke
                context = Context(self.recipe, folder, given, step.target, cache, say, smoke=smoke, reach=self.keys.reach)
                outcome = call_stage(step.stage.entry, context)
            return self.store.commit(key, folder, outcome, time.monotonic() - started, parts)

    def _request(self, step: Step, key: str, folder: Path, inputs: Mapping[str, Row]) -> dict[str, Any]:
        return {
            "entry": step.stage.entry,
            "recipe": {**self.recipe.as_json(), "folder": str(self.recipe.folder)},
            "folder": str(folder.resolve()),
            "target": step.target,
            "cache": str(self.store.folder.resolve()),
            "smoke": self.control.smoke,
            "last": step.stage.name == self.control.until,
            "checkpoint": str(self.store.checkpoint(key).resolve()),
            "inputs": {
                name: {"outcome": row.outcome.as_json(), "folder": str((self.run_dir / row.step.name).resolve())}
                for name, row in inputs.items()
            },
        }

    def _inputs_of(self, step: Step) -> list[Step]:
        measured = tuple(name for name in self.target_names if name not in self.not_measured)
        return list(needed_steps(step, measured))

    def _not_reached(self, step: Step, error: EdgekdError | None) -> Row:
        if why_not := self.keys.why_not_taken(step):
            why = why_not
        elif step not in self.wanted:
            why = f"after --until {self.control.until}"
        else:
            why = "an earlier step failed" if error else "an earlier gate failed"
        return self._judged(Row(step, "skipped", why=why))

    def _finish(self, row: Row) -> None:
        row = self.rows[row.step] = self._judged(row)
        self.listen({"event": "end", "step": row.step.name, "status": row.status, "row": row})

    def _judged(self, row: Row) -> Row:
        return replace(row, judgements=judgements(row.step, row.outcome, self.recipe, smoke=self.control.smoke))

    def _progress(self, step: Step, event: Mapping[str, Any]) -> None:
        self.listen({"event": "progress", "step": step.name, **event})

    def _require_disk(self) -> None:
        self.store.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.store.folder).free
        if free < LEAST_FREE_BYTES:
            need = f"{LEAST_FREE_BYTES / 2**20:.0f} MB"
            fix = "free some space, or choose another --run-dir"
            raise EnvironmentProblem(
                f"less than {need} free on the disk", where=str(self.store.folder), seen=f"{free / 2**20:.0f} MB", fix=fix
            )
