"""The runner: walk the steps, reuse what the store has, make the rest, judge every gate, stop where one fails."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from edgekd import data, targets
from edgekd.core import EdgekdError, Interrupted, Outcome, Verdict, digest
from edgekd.core.files import disk_problems, write_json
from edgekd.core.lock import locked
from edgekd.pipeline import chain
from edgekd.pipeline.chain import Step, needed_steps, steps
from edgekd.pipeline.control import Control
from edgekd.pipeline.fit import FIT_FILE, Fit
from edgekd.pipeline.fit_choice import CHOICE_FILE, Choices
from edgekd.pipeline.fitting import fitted
from edgekd.pipeline.judging import judgements
from edgekd.pipeline.keys import Keys
from edgekd.pipeline.making import Listener, Maker
from edgekd.pipeline.ready import require_enough_images, require_ready
from edgekd.pipeline.state import Openings, State
from edgekd.pipeline.store import Store
from edgekd.pipeline.walk import Row, Walk
from edgekd.pipeline.worker import Worker
from edgekd.recipe import Recipe, at_rung
from edgekd.stages import Input, smoke


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
        self.fit: Fit | None = None

    def walk(self) -> Walk:
        """Run, reuse or skip every step. Errors of a step end the walk and are returned in it. What keeps a walk from starting
        (a recipe that cannot be run, the run's lock, nothing to start from) is raised, and the folder stays as it was."""
        require_ready(self.recipe)
        error: EdgekdError | None = None
        described: data.Description | None = None
        with locked(self.run_dir / ".lock", f"the run {self.run_dir}"), Worker(self.run_dir / "worker.log") as worker:
            maker = Maker(self.keys, self.store, self.control, worker, self.openings, self.listen)
            if self.recipe.fit is not None and self.control.takes_as_it_is(
                Step(chain.STAGES["preflight"])
            ):  # what was measured before chooses the same again
                maker = self._fitted(maker)
            self._require_what_comes_before(maker)
            self.state.claim(smoke=self.control.smoke)
            try:
                described = self._described()
                require_enough_images(self.recipe, described.counts["train"], {step.stage.name for step in self.wanted})
                maker = self._fitted(maker)
                self._keep_fit()
                for _, of_stage in groupby(self.steps, key=lambda step: step.stage):
                    if self.fit is not None and self.fit.chosen is None:
                        break
                    for step in (step for step in of_stage if step in self.wanted):
                        self._take(step, maker)
                    if self._failed() and not self.control.keep_going:
                        break
            except EdgekdError as problem:
                error = problem
                with suppress(Interrupted):  # a second signal kills the worker, and the report is still written
                    worker.close()
            rows = tuple(self.rows.get(step) or self._not_reached(step, error) for step in self.steps)
            if self._failed() or not isinstance(error, Interrupted):
                self._withdraw_bundle(rows, described)
            self._keep_fit()
        opened = self.openings.of(described.digest) if described else None
        return Walk(rows, error, self.not_measured, self.control, opened, described, self.fit)

    def _fitted(self, maker: Maker) -> Maker:
        """Of a recipe with a ladder, choose the rung that fits, once; what comes after knows its width and image size only."""
        if self.recipe.fit is None:
            return maker
        self.fit = fitted(maker, Choices(self.run_dir / CHOICE_FILE))
        self.listen({"event": "note", "text": f"fit: {self.fit.why}"})
        if self.fit.chosen is None:
            return maker
        self.recipe = at_rung(self.recipe, self.fit.chosen)
        maker = maker.of(self.recipe)
        self.keys = maker.keys
        return maker

    def _keep_fit(self) -> None:
        """fit.json: choice and curve; an earlier walk's goes where this one has none."""
        if self.fit is not None:
            write_json(self.run_dir / FIT_FILE, self.fit.as_json())
        else:
            (self.run_dir / FIT_FILE).unlink(missing_ok=True)

    def _described(self) -> data.Description:
        """The images; where the run before this one in the folder had others, their notes say so, and so does the log at once."""
        described = self.keys.described
        changed = self.state.see_images(described)
        if changed is None:
            return described
        self.listen({"event": "note", "text": changed})
        return replace(described, notes=(*described.notes, changed))

    def _require_what_comes_before(self, maker: Maker) -> None:
        """With ``--from``: raise InputError unless every step before it is in the store; nothing is trained by surprise."""
        if self.recipe.fit is not None:  # the rungs are asked for one by one, and what they lack is told then
            return
        outcomes: dict[Step, Outcome] = {}
        for step in (one for one in self.steps if self.control.takes_as_it_is(one) and not self.keys.why_not_taken(one)):
            given = {need.name: outcomes[need] for need in self._inputs_of(step)}
            outcomes[step] = maker.require_stored(step, given).outcome

    def _failed(self) -> bool:
        if self.fit is not None and self.fit.verdict is Verdict.FAIL:
            return True
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

    def _take(self, step: Step, maker: Maker) -> None:
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
                given = {need.name: Input(self.rows[need].outcome, self.run_dir / need.name) for need in self._inputs_of(step)}
                taken = maker.take(step, given, step.name)
                self.store.place(taken.stored, self.run_dir / step.name)
        except EdgekdError as problem:
            self._finish(Row(step, "failed", seconds=time.monotonic() - started, why=str(problem)))
            raise
        stored, age = taken.stored, None if taken.made else taken.stored.age_s
        status = "done" if taken.made else "cached"
        why = f"files and commands only: {self.not_measured[step.target]}" if step.target in self.not_measured else None
        self._finish(Row(step, status, stored.outcome, (), taken.key, stored.seconds, age, why, taken.parts["source"]))

    def _inputs_of(self, step: Step) -> list[Step]:
        measured = tuple(name for name in self.target_names if name not in self.not_measured)
        return list(needed_steps(step, measured))

    def _not_reached(self, step: Step, error: EdgekdError | None) -> Row:
        if why_not := self.keys.why_not_taken(step):
            why = why_not
        elif error is None and self.fit is not None and self.fit.chosen is None:
            why = "no rung of the ladder fits" if self.fit.verdict is Verdict.FAIL else "no rung of the ladder was chosen"
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
