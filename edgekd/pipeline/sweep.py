"""A sweep: every arm with every seed through the chain as far as asked, what they share made once, and one document of it all."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import report
from edgekd.core import EdgekdError, InputError, digest
from edgekd.core.duration import in_words
from edgekd.core.files import disk_problems, write_atomic, write_json
from edgekd.core.lock import locked
from edgekd.core.nearest import did_you_mean
from edgekd.core.signals import undisturbed
from edgekd.data import Description
from edgekd.pipeline.apart import Order, take_all
from edgekd.pipeline.arms import Arm, Asked, arms_of, chosen, with_epochs
from edgekd.pipeline.chain import CHAIN, STAGES, Step, steps
from edgekd.pipeline.document import environment
from edgekd.pipeline.fit_choice import CHOICE_FILE, Choices
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.making import Listener
from edgekd.pipeline.plan import PlannedStep, planned_steps
from edgekd.pipeline.ready import require_enough_images
from edgekd.pipeline.runner import store_of
from edgekd.pipeline.state import Openings, remembered
from edgekd.pipeline.store import Store
from edgekd.pipeline.sweep_fit import with_numbers
from edgekd.recipe import Recipe
from edgekd.report import ArmPart, Document

MATCHED_FILE = "matched.json"
CLAIM_FILE = "arms.json"  # written before anything is made: whose folder this is


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

    folder: of the sweep; if None, one below ``runs`` that no other set of arms has. words: the command that makes it.
    Raises InputError, RecipeError.
    """

    def __init__(self, asked: Asked, folder: Path | None, runs: Path, words: Sequence[str]) -> None:
        after = [stage.name for stage in CHAIN[list(STAGES).index("distill") :]]
        if asked.until not in after:
            what = f"a sweep cannot end at '{asked.until}'{did_you_mean(asked.until, after)}"
            raise InputError(what, where="--until", seen=asked.until, fix="one of: " + ", ".join(after))
        self.asked, self.words = asked, tuple(words)
        self.arms = arms_of(asked)
        self.recipe = next(iter(self.arms[0].recipes.values()))
        self.digest = digest([[arm.name, [_told_apart(recipe) for recipe in arm.recipes.values()]] for arm in self.arms])
        self.folder = folder or runs / f"{self.recipe.name}-sweep-{self.digest[:8]}"
        self.store = store_of(self.folder, runs)
        self.baseline = chosen(asked.baseline, self.arms, "--baseline").name if asked.baseline else self.arms[0].name
        names = {arm.name for arm in self.arms}
        to_match = [one.strip() for text in asked.matched for one in ([text] if text.strip() in names else text.split(","))]
        self.to_match = [chosen(name, self.arms, "--matched") for name in dict.fromkeys(to_match) if name]
        if idle := next((arm.name for arm in self.to_match if not arm.epochs), None):
            raise InputError(f"the arm '{idle}' does not train", where="--matched", seen=idle)
        self.described: Description | None = None
        self._images: dict[str, Description] = {}  # by data section: arms mostly share one

    def prospects(self, arms: Sequence[Arm]) -> list[Prospect]:
        """Of every run of these arms. Raises InputError: the images are not there, not usable or too few for one of them."""
        memo = self.store / "digests.json" if self.store.is_dir() else None
        store, found = Store(self.store), []
        for arm in arms:
            for seed, recipe in arm.recipes.items():
                keys = Keys(recipe, memo)
                of = digest(recipe.as_json()["data"])
                keys.described = self._images[of] = self._images.get(of) or keys.described
                self.described = self.described or keys.described
                wanted = tuple(steps(tuple(recipe.targets), self.asked.until, exams=True))
                require_enough_images(recipe, keys.described.counts["train"], {step.stage.name for step in wanted})
                planned = planned_steps(keys, store, wanted, Choices(self.folder / CHOICE_FILE))
                found.append(Prospect(arm, seed, planned, key_of(keys.parts(Step(STAGES["teacher"]), {}))))
        return found

    def run(self, jobs: int, listen: Listener) -> dict[str, Any]:
        """Make or reuse everything; leaves the document in the folder and returns it. Raises Interrupted: the same command goes
        on. LockedError: another process makes this sweep. InputError: the folder holds another."""
        started = time.time()
        with locked(self.folder / ".lock", f"the sweep {self.folder}"):
            self.require_own_folder()
            write_json(self.folder / CLAIM_FILE, {"digest": self.digest, "command": shlex.join(self.words)})
            self.arms, fits = with_numbers(self.arms, self.folder, self.store, listen)
            self.to_match = [chosen(arm.name, self.arms, "--matched") for arm in self.to_match]
            rows = self._measured(self.arms, jobs, listen)
            matched, notes = self._matched(rows)
            notes = [*fits, *notes]
            for text in notes:
                listen({"event": "note", "text": text})
            rows += self._measured(matched, jobs, listen)
            with undisturbed():
                document = self._document(rows, notes, started)
                write_json(self.folder / report.SWEEP_FILE, document)
                write_atomic(self.folder / "sweep.csv", report.render_csv(document))
                write_atomic(self.folder / "sweep.html", report.render_sweep_html(document))
        return document

    def require_own_folder(self) -> None:
        """Neither may overwrite the other's table and runs. Raises InputError: the folder is, or may be, that of other arms or
        of other files."""
        with disk_problems(self.folder):
            there = [path for name in (CLAIM_FILE, report.SWEEP_FILE) if (path := self.folder / name).exists()]
        if others := [path for path in there if remembered(path).get("digest") != self.digest]:
            fix = f"another --run-dir, or remove {' and '.join(path.name for path in others)}"
            seen = str(remembered(others[0]).get("command"))
            raise InputError("this folder holds another sweep", where=str(self.folder), seen=seen, fix=fix)

    def _measured(self, arms: Sequence[Arm], jobs: int, listen: Listener) -> list[ArmPart]:
        """Teachers first, then every run whose teacher is there."""
        prospects = self.prospects(arms)
        to_teach = {one.teacher: one for one in reversed(prospects) if one.steps[0].status != "cached"}
        lessons = {f"teacher of {one.name}" if len(to_teach) > 1 else "for all": one for one in to_teach.values()}
        without: dict[str, EdgekdError] = {}

        def taught(order: Order, error: EdgekdError | None) -> None:
            if error is not None:
                error.where = error.where or "teacher"
                without[lessons[order.name].teacher] = error

        take_all([self._order(one, name, "teacher") for name, one in lessons.items()], jobs, listen, taught)
        failed: dict[str, EdgekdError | None] = {}
        able = [one for one in prospects if one.teacher not in without]
        count = _Count(len(able), listen)

        def ended(order: Order, error: EdgekdError | None) -> None:
            failed[order.name] = error
            count.another(order.name, error)

        take_all([self._order(one, one.name, self.asked.until) for one in able], jobs, listen, ended)
        found = [(one, without.get(one.teacher) or self._left_by(one, failed[one.name])) for one in prospects]
        return [self._part(arm, [(one, what) for one, what in found if one.arm is arm]) for arm in arms]

    def _folder(self, one: Prospect) -> Path:
        return self.folder / one.arm.folder(one.seed)

    def _order(self, one: Prospect, name: str, until: str) -> Order:
        return Order(name, one.arm.recipes[one.seed], self._folder(one), self.store, until, self.words)

    def _left_by(self, one: Prospect, error: EdgekdError | None) -> Document | EdgekdError:
        """The report of a run that has ended, or why there is none: one that does not tell its error is of an earlier run."""
        try:
            found = report.read(self._folder(one))
        except EdgekdError as nothing:
            return error or nothing
        told = found.error.model_dump() if found.error else None
        return error if error is not None and error.as_json() != told else found

    def _part(self, arm: Arm, runs: Sequence[tuple[Prospect, Document | EdgekdError]]) -> ArmPart:
        return ArmPart(
            name=arm.name, baseline=arm.name == self.baseline, changes=list(arm.changes), left_out=list(arm.left_out),
            matched=arm.matched, runs=[report.run_part(one.seed, arm.folder(one.seed), found) for one, found in runs],
        )  # fmt: skip

    def _matched(self, rows: Sequence[ArmPart]) -> tuple[list[Arm], list[str]]:
        """The arms that repeat others for no less time than the dearest takes, and why there is none of one. How many epochs that
        is, is measured once, of all that trains, and remembered: measured again, it would be another training."""
        if not self.to_match:
            return [], []
        path, of = self.folder / MATCHED_FILE, digest([self.digest, self.described.digest if self.described else None])
        kept = remembered(path)
        epochs = kept.get("epochs") if kept.get("of") == of else None
        if not isinstance(epochs, dict) or not all(_no_shorter(epochs.get(arm.name), arm) for arm in self.to_match):
            trained = [(arm, row) for arm, row in zip(self.arms, rows, strict=True) if arm.epochs]
            if untimed := [arm.name for arm, row in trained if any(run.seconds is None for run in row.runs)]:
                text = f"--matched waits: not every seed of {', '.join(untimed)} was trained, so the dearest arm is not known"
                return [], [text]
            seconds = report.training_seconds(rows)
            dearest = max(seconds.values())
            epochs = {arm.name: math.ceil(arm.epochs * (dearest / seconds[arm.name])) for arm, _ in trained}
            write_json(path, {"of": of, "epochs": epochs})
        longer = [with_epochs(arm, epochs[arm.name]) for arm in self.to_match if epochs[arm.name] > arm.epochs]
        notes = [f"{arm.name} is the dearest arm: not repeated" for arm in self.to_match if epochs[arm.name] == arm.epochs]
        return longer, notes

    def _document(self, rows: Sequence[ArmPart], notes: Sequence[str], started: float) -> dict[str, Any]:
        documents = [report.read(self.folder / run.folder) for row in rows for run in row.runs if run.teacher]
        errors = [EdgekdError.from_json(run.error.model_dump()) for row in rows for run in row.runs if run.error]
        described = self.described
        return {
            "schema": 1,
            "exit_code": errors[0].exit_code if errors else 0,
            "sweep": str(self.folder),
            "recipe": str(self.asked.recipe),
            "name": self.recipe.name,
            "digest": self.digest,
            "command": shlex.join(self.words),
            "until": self.asked.until,
            "baseline": self.baseline,
            "seeds": list(self.arms[0].recipes),
            "teachers": [one.model_dump(mode="json") for one in report.teachers_of(documents)],
            "arms": [one.model_dump(mode="json") for one in report.tabulated(rows, self.baseline)],
            "notes": list(notes),
            "test_opened": Openings(self.store / "test_opened.json").of(described.digest) if described else None,
            "data": {"source": self.recipe.data.source, **described.as_json()} if described else None,
            "environment": environment(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
            "seconds": round(time.time() - started, 3),
        }


def _told_apart(recipe: Recipe) -> list[Any]:
    """A recipe as it is written, and which files of this machine its paths are: the same words in another folder are others."""
    images = recipe.resolve(recipe.data.path) if recipe.data.path is not None else None
    files = (images, recipe.weights_file("teacher"), recipe.weights_file("student"))
    return [recipe.as_json(), [path and str(path.resolve()) for path in files]]


def _no_shorter(epochs: object, arm: Arm) -> bool:
    return isinstance(epochs, int) and epochs >= arm.epochs


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
