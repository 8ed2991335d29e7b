"""The runner: walk the steps, reuse what the store has, make the rest, judge every gate, stop where one fails."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekd import data
from edgekd.core import EdgekdError, EnvironmentProblem, Gate, Interrupted, Judgement, Measurement, Outcome, Verdict, judge
from edgekd.core.files import disk_problems
from edgekd.core.lock import locked
from edgekd.pipeline.chain import CHAIN, Step, needed_steps, steps
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.ready import require_ready
from edgekd.pipeline.state import State
from edgekd.pipeline.store import Store, Stored
from edgekd.pipeline.worker import Worker
from edgekd.recipe import Recipe
from edgekd.stages import Context, Input
from edgekd.stages.worker import call_stage

LEAST_FREE_BYTES = 200 * 2**20  # a run of the shipped recipe writes about 120 MB
Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Row:
    """What became of one step. status: done, cached, failed or skipped; why: for the last two.

    seconds: how long it took, of a cached one when it was made, of a failed one until it failed; None if it never began.
    """

    step: Step
    status: str
    outcome: Outcome = field(default_factory=Outcome)
    judgements: tuple[Judgement, ...] = ()
    key: str | None = None
    seconds: float | None = None
    age_s: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Walk:
    """A walked chain: a row for every step of it, also those not reached, and the error that ended it early, if one did."""

    rows: tuple[Row, ...]
    error: EdgekdError | None
    not_measured: Mapping[str, str]
    until: str | None
    test_opened: int
    described: data.Description | None


def store_of(run_dir: Path, default_runs: Path) -> Path:
    """Runs in the default place share one store; a run elsewhere keeps its own inside, and can be moved whole."""
    return run_dir.parent / ".store" if run_dir.parent.resolve() == default_runs.resolve() else run_dir / ".store"


class Runner:
    """Walks one recipe into one run folder. Use ``walk`` once."""

    def __init__(self, recipe: Recipe, run_dir: Path, store: Store, listen: Listener, until: str | None = None) -> None:
        self.recipe, self.run_dir, self.store, self.listen, self.until = recipe, run_dir, store, listen, until
        self.keys = Keys(recipe, store.folder / "digests.json")
        self.target_names = tuple(recipe.targets)
        self.steps = tuple(steps(self.target_names))
        self.wanted = frozenset(steps(self.target_names, until))
        self.state = State(run_dir / "state.json")
        self.not_measured = self.keys.not_measured
        self.rows: dict[Step, Row] = {}

    def walk(self) -> Walk:
        """Run, reuse or skip every step. Errors of a step end the walk and are returned in it; what keeps a walk from starting
        (a recipe that cannot be run, the run's lock) is raised, and no folder is made."""
        require_ready(self.recipe)
        error: EdgekdError | None = None
        described: data.Description | None = None
        with locked(self.run_dir / ".lock", f"the run {self.run_dir}"), Worker(self.run_dir / "worker.log") as worker:
            try:
                described = self._described()
                for stage in CHAIN:
                    for step in (step for step in self.steps if step.stage is stage and step in self.wanted):
                        self._take(step, worker)
                    failed = [judged for row in self.rows.values() for judged in row.judgements if judged.verdict is Verdict.FAIL]
                    if failed:
                        break
            except EdgekdError as problem:
                error = problem
            rows = tuple(self.rows.get(step) or self._not_reached(step, error) for step in self.steps)
            if not isinstance(error, Interrupted):
                self._withdraw_bundle(rows)
        return Walk(rows, error, self.not_measured, self.until, self.state.test_opened, described)

    def _described(self) -> data.Description:
        """The images; where the run before this one in the folder had others, their notes say so, and so does the log at once."""
        described = self.keys.described
        changed = self.state.see_images(described)
        if changed is None:
            return described
        self.listen({"event": "note", "text": changed})
        return replace(described, notes=(*described.notes, changed))

    def _withdraw_bundle(self, rows: tuple[Row, ...]) -> None:
        """A bundle of an earlier walk does not stay where an app looks for it when this walk failed before making one."""
        for row in rows:
            if row.step.stage.name == "bundle" and row.step in self.wanted and row.status in ("failed", "skipped"):
                shutil.rmtree(self.run_dir / row.step.name, ignore_errors=True)

    def _take(self, step: Step, worker: Worker) -> None:
        if step.target in self.not_measured:
            self._finish(Row(step, "skipped", why=self.not_measured[step.target or ""]))
            return
        self.listen({"event": "start", "step": step.name})
        started = time.monotonic()
        try:
            inputs = {need.name: self.rows[need] for need in self._inputs_of(step)}
            parts = self.keys.parts(step, {name: row.outcome for name, row in inputs.items()})
            key = key_of(parts)
            stored = self.store.find(key)
            if stored and to_be_renewed(step, stored.outcome, self.recipe):
                stored = None
            status = "cached" if stored else "done"
            if stored is None:
                stored = self._make(step, key, parts, inputs, worker)
            with disk_problems(self.run_dir):
                self.store.place(stored, self.run_dir / step.name)
        except EdgekdError as problem:
            if problem.__cause__ is not None and problem.code == EdgekdError.code:  # a bug in a stage that ran here
                worker.write_down(problem, "".join(traceback.format_exception(problem)))
            self._finish(Row(step, "failed", seconds=time.monotonic() - started, why=str(problem)))
            raise
        judgements = tuple(
            judge(gate, _measured(stored.outcome, gate)) for gate in self.recipe.gates_of(step.stage.name, step.target)
        )
        age = stored.age_s if status == "cached" else None
        self._finish(Row(step, status, stored.outcome, judgements, key, stored.seconds, age))

    def _make(self, step: Step, key: str, parts: Mapping[str, Any], inputs: Mapping[str, Row], worker: Worker) -> Stored:
        self._require_disk()
        with self.store.lock(key), self.store.new_folder(key) as folder:
            started = time.monotonic()
            if step.stage.name == "benchmark":
                self.state.count_test_opened()
            if step.stage.torch:
                outcome = worker.run(self._request(step, folder, inputs), lambda event: self._progress(step, event))
            else:
                worker.close()  # its memory is free, and nothing of ours computes, before a device is timed
                given = {name: Input(row.outcome, self.run_dir / row.step.name) for name, row in inputs.items()}
                say: Listener = lambda event: self._progress(step, event)  # noqa: E731
                context = Context(self.recipe, folder, given, step.target, self.store.folder, say)
                outcome = call_stage(step.stage.entry, context)
            return self.store.commit(key, folder, outcome, time.monotonic() - started, parts)

    def _request(self, step: Step, folder: Path, inputs: Mapping[str, Row]) -> dict[str, Any]:
        return {
            "entry": step.stage.entry,
            "recipe": {**self.recipe.as_json(), "folder": str(self.recipe.folder)},
            "folder": str(folder.resolve()),
            "target": step.target,
            "cache": str(self.store.folder.resolve()),
            "inputs": {
                name: {"outcome": row.outcome.as_json(), "folder": str((self.run_dir / row.step.name).resolve())}
                for name, row in inputs.items()
            },
        }

    def _inputs_of(self, step: Step) -> list[Step]:
        measured = tuple(name for name in self.target_names if name not in self.not_measured)
        return list(needed_steps(step, measured))

    def _not_reached(self, step: Step, error: EdgekdError | None) -> Row:
        if step.target in self.not_measured:
            why = self.not_measured[step.target or ""]
        elif step not in self.wanted:
            why = f"after --until {self.until}"
        else:
            why = "an earlier step failed" if error else "an earlier gate failed"
        return self._judge_unmeasured(Row(step, "skipped", why=why))

    def _finish(self, row: Row) -> None:
        row = row if row.outcome.measurements else self._judge_unmeasured(row)
        self.rows[row.step] = row
        self.listen({"event": "end", "step": row.step.name, "status": row.status, "row": row})

    def _judge_unmeasured(self, row: Row) -> Row:
        judgements = tuple(judge(gate, None) for gate in self.recipe.gates_of(row.step.stage.name, row.step.target))
        return replace(row, judgements=judgements)

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


def to_be_renewed(step: Step, outcome: Outcome, recipe: Recipe) -> bool:
    """Whether a step on a device is measured again: a gate asks for a number that was taken under suspect conditions."""
    if not step.stage.per_target:
        return False
    asked = [_measured(outcome, gate) for gate in recipe.gates_of(step.stage.name, step.target) if gate.waive is None]
    return any(one is not None and one.suspect for one in asked)


def _measured(outcome: Outcome, gate: Gate) -> Measurement | None:
    return next((one for one in outcome.measurements if one.name == gate.metric), None)
