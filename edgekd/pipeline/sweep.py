"""A sweep: every arm with every seed through the chain as far as asked, what they share made once, and one document of it all."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import report
from edgekd.core import EdgekdError, InputError, digest
from edgekd.core.duration import in_words
from edgekd.core.files import write_json
from edgekd.core.nearest import did_you_mean
from edgekd.data import Description
from edgekd.pipeline.apart import Order, take_all
from edgekd.pipeline.arms import Arm, Asked, arms_of, chosen, with_epochs
from edgekd.pipeline.chain import CHAIN, STAGES, Step, steps
from edgekd.pipeline.document import environment
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.plan import PlannedStep, planned_steps
from edgekd.pipeline.runner import Listener
from edgekd.pipeline.state import Openings
from edgekd.pipeline.store import Store
from edgekd.report import FILE_NAME, ArmPart, Document, RunPart

MATCHED_FILE = "matched.json"


@dataclass(frozen=True)
class Prospect:
    """One run of the sweep before it starts: what of it is there, what is to be made, and the key of its teacher."""

    arm: Arm
    seed: int
    steps: tuple[PlannedStep, ...]
    teacher: str

    @property
    def name(self) -> str:
        return f"{self.arm.name}, seed {self.seed}"


class Sweep:
    """What was asked, checked: every arm valid, before anything trains.

    folder: of the sweep; store: its steps. words: the command that makes it. Raises InputError and RecipeError.
    """

    def __init__(self, asked: Asked, folder: Path, store: Path, words: Sequence[str]) -> None:
        after = [stage.name for stage in CHAIN[list(STAGES).index("distill") :]]
        if asked.until not in after:
            what = f"a sweep cannot end at '{asked.until}'{did_you_mean(asked.until, after)}"
            raise InputError(what, where="--until", seen=asked.until, fix="one of: " + ", ".join(after))
        self.asked, self.folder, self.store, self.words = asked, folder, store, tuple(words)
        self.arms = arms_of(asked)
        self.baseline = chosen(asked.baseline, self.arms, "--baseline").name if asked.baseline else self.arms[0].name
        self.to_match = [chosen(name, self.arms, "--matched") for name in asked.matched]
        if idle := next((arm.name for arm in self.to_match if not arm.epochs), None):
            raise InputError(f"the arm '{idle}' does not train", where="--matched", seen=idle)
        self.described: Description | None = None
        self._images: dict[str, Description] = {}  # by data section: arms mostly share one

    def prospects(self, arms: Sequence[Arm]) -> list[Prospect]:
        """Of every run of these arms. Raises InputError: the images are not there or not usable."""
        memo = self.store / "digests.json" if self.store.is_dir() else None
        store, found = Store(self.store), []
        for arm in arms:
            for seed, recipe in arm.recipes.items():
                keys = Keys(recipe, memo)
                of = digest([recipe.as_json()["data"], str(recipe.folder)])
                keys.described = self._images[of] = self._images.get(of) or keys.described
                self.described = self.described or keys.described
                planned = planned_steps(keys, store, steps(tuple(recipe.targets), self.asked.until, exams=True))
                found.append(Prospect(arm, seed, planned, key_of(keys.parts(Step(STAGES["teacher"]), {}))))
        return found

    def run(self, jobs: int, listen: Listener) -> dict[str, Any]:
        """Make or reuse everything; returns the document. Raises Interrupted: the same command goes on."""
        started = time.time()
        rows = self._measured(self.arms, jobs, listen)
        if matched := self._matched(rows, listen):
            rows += self._measured(matched, jobs, listen)
        return self._document(rows, started)

    def _measured(self, arms: Sequence[Arm], jobs: int, listen: Listener) -> list[ArmPart]:
        """Teachers first, then every run whose teacher is there."""
        prospects = self.prospects(arms)
        for one in prospects:
            (self._folder(one) / FILE_NAME).unlink(missing_ok=True)  # else a run that dies would show an earlier one
        to_teach = {one.teacher: one for one in reversed(prospects) if one.steps[0].status != "cached"}
        lessons = {f"teacher of {one.name}" if len(to_teach) > 1 else "for all": one for one in to_teach.values()}
        without: dict[str, EdgekdError] = {}

        def taught(order: Order, error: EdgekdError | None) -> None:
            if error is not None:
                without[lessons[order.name].teacher] = error

        take_all([self._order(one, name, "teacher") for name, one in lessons.items()], jobs, listen, taught)
        results: dict[str, EdgekdError | None] = {one.name: without.get(one.teacher) for one in prospects}
        able = [one for one in prospects if one.teacher not in without]
        count = _Count(len(able), listen)

        def ended(order: Order, error: EdgekdError | None) -> None:
            results[order.name] = error
            count.another(order.name, error)

        take_all([self._order(one, one.name, self.asked.until) for one in able], jobs, listen, ended)
        return [self._part(arm, [one for one in prospects if one.arm is arm], results) for arm in arms]

    def _folder(self, one: Prospect) -> Path:
        return self.folder / one.arm.folder(one.seed)

    def _order(self, one: Prospect, name: str, until: str) -> Order:
        return Order(name, one.arm.recipes[one.seed], self._folder(one), self.store, until, self.words)

    def _part(self, arm: Arm, runs: Sequence[Prospect], results: Mapping[str, EdgekdError | None]) -> ArmPart:
        found: list[RunPart] = []
        for one in runs:
            document: Document | EdgekdError
            try:
                document = report.read(self._folder(one))
            except EdgekdError as nothing:
                document = results[one.name] or nothing
            found.append(report.run_part(one.seed, arm.folder(one.seed), document))
        return ArmPart(
            name=arm.name, baseline=arm.name == self.baseline, changes=list(arm.changes), left_out=list(arm.left_out),
            matched=arm.matched, runs=found,
        )  # fmt: skip

    def _matched(self, rows: Sequence[ArmPart], listen: Listener) -> tuple[Arm, ...]:
        """The arms that repeat others for as long as the dearest takes. How many epochs that is, is measured once and remembered:
        measured again, it would be another training. An arm that would get the epochs it has is not repeated."""
        recipes = [[arm.name, [recipe.as_json() for recipe in arm.recipes.values()]] for arm in self.arms]
        path, of = self.folder / MATCHED_FILE, digest([recipes, self.described.digest if self.described else None])
        kept, seconds = _kept(path, of), report.training_seconds(rows)
        dearest = max(seconds.values(), default=0.0)
        found = []
        for arm in self.to_match:
            if arm.name not in kept and arm.name in seconds:
                times = dearest / seconds[arm.name]
                kept[arm.name] = {"epochs": round(arm.epochs * times), "times": times}
            if arm.name in kept and kept[arm.name]["epochs"] != arm.epochs:
                found.append(with_epochs(arm, int(kept[arm.name]["epochs"]), kept[arm.name]["times"]))
            elif arm.name in kept:
                listen({"event": "note", "text": f"{arm.name} takes as long as the dearest arm already: not repeated"})
        if kept:
            write_json(path, {"of": of, "arms": kept})
        return tuple(found)

    def _document(self, rows: Sequence[ArmPart], started: float) -> dict[str, Any]:
        folders = [self.folder / run.folder for row in rows for run in row.runs]
        documents = [report.read(folder) for folder in folders if (folder / FILE_NAME).is_file()]
        errors = [EdgekdError.from_json(run.error.model_dump()) for row in rows for run in row.runs if run.error]
        recipe, described = next(iter(self.arms[0].recipes.values())), self.described
        return {
            "schema": 1,
            "exit_code": errors[0].exit_code if errors else 0,
            "sweep": str(self.folder),
            "recipe": str(self.asked.recipe),
            "name": recipe.name,
            "command": shlex.join(self.words),
            "until": self.asked.until,
            "baseline": self.baseline,
            "seeds": list(self.arms[0].recipes),
            "teachers": [one.model_dump(mode="json") for one in report.teachers_of(documents)],
            "arms": [one.model_dump(mode="json") for one in report.tabulated(rows, self.baseline)],
            "test_opened": Openings(self.store / "test_opened.json").of(described.digest) if described else None,
            "data": {"source": recipe.data.source, **described.as_json()} if described else None,
            "environment": environment(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
            "seconds": round(time.time() - started, 3),
        }


class _Count:
    """Says after each run how many are done, and how long the rest will take at this pace."""

    def __init__(self, total: int, listen: Listener) -> None:
        self.total, self.listen, self.done, self.began = total, listen, 0, time.monotonic()

    def another(self, name: str, error: EdgekdError | None) -> None:
        self.done += 1
        left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
        rest = f", about {in_words(left)} left" if self.done < self.total else ""
        self.listen(
            {"event": "note", "text": f"[{self.done}/{self.total}] {name}: {f'failed: {error}' if error else 'done'}{rest}"}
        )


def _kept(path: Path, of: str) -> dict[str, dict[str, float]]:
    """What was decided for these very arms before; nothing if the file is missing or damaged."""
    try:
        kept = json.loads(path.read_text())
        arms = kept["arms"].items() if kept["of"] == of else ()
        return {str(name): {"epochs": int(one["epochs"]), "times": float(one["times"])} for name, one in arms}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
