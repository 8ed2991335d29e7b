"""The plan of a run, made without touching anything: what is cached, what will be made, what cannot be measured or settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import targets
from edgekd.core import Outcome, Verdict
from edgekd.data import Description
from edgekd.pipeline.chain import STAGES, Step, needed_steps, steps
from edgekd.pipeline.fit import Tried, first_that_fits
from edgekd.pipeline.fit_choice import CHOICE_FILE, Choices
from edgekd.pipeline.fitting import bounded_targets, known
from edgekd.pipeline.judging import to_be_renewed
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.ready import require_enough_images, require_ready
from edgekd.pipeline.store import Store
from edgekd.recipe import Nothing, Quantize, Recipe, Rung, Training, at_rung, batches_of, ladder, unsettled_by


@dataclass(frozen=True)
class PlannedStep:
    """status: "cached", "to do" or "not measured". cost: training steps or images, in words; why: for "not measured"."""

    name: str
    status: str
    cost: str = ""
    age_s: float | None = None
    why: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"step": self.name, "status": self.status, "cost": self.cost, "age_s": self.age_s, "why": self.why}


@dataclass(frozen=True)
class PlannedRung:
    """A rung of the ladder. status: "cached" or "to do"; fits: what the store knows, None where it would have to be asked;
    why: what speaks against it; chosen: the walk will go on with it, as far as the store knows all that decides."""

    rung: Rung
    status: str
    fits: bool | None = None
    why: str = ""
    chosen: bool = False

    @property
    def name(self) -> str:
        return self.rung.name

    def as_json(self) -> dict[str, Any]:
        size = {"width": self.rung.width, "image_size": list(self.rung.height_width)}
        return {**size, "status": self.status, "fits": self.fits, "why": self.why, "chosen": self.chosen}


@dataclass(frozen=True)
class Plan:
    """rungs: the ladder of a recipe that has one, most work first. While none of them is known to be chosen, every step is to
    do."""

    steps: tuple[PlannedStep, ...]
    unsettled: tuple[str, ...]
    described: Description
    rungs: tuple[PlannedRung, ...] = ()


def make_plan(recipe: Recipe, store_folder: Path, reach: targets.Reach | None = None, run_dir: Path | None = None) -> Plan:
    """Raises InputError for images that are not there or not usable, DeviceError for a device that does not answer.

    reach: where the devices are; None: as recipe and environment say. run_dir: of the run to be; None: a new one.
    """
    require_ready(recipe)
    keys = Keys(recipe, None, reach=reach)
    counts = keys.described.counts
    require_enough_images(recipe, counts["train"], STAGES)
    store, choices = Store(store_folder), Choices(run_dir / CHOICE_FILE) if run_dir else None
    rungs = _rungs(keys, store, choices)
    planned = planned_steps(keys, store, steps(tuple(recipe.targets)), choices)
    unsettled = [
        reason
        for gate in recipe.gate_list()
        if (reason := unsettled_by(gate, counts["test" if gate.stage == "benchmark" else "held_out"]))
    ]
    return Plan(planned, tuple(unsettled), keys.described, rungs)


def _rungs(keys: Keys, store: Store, choices: Choices | None) -> tuple[PlannedRung, ...]:
    answers = known(keys, store)
    chosen, planned = _chosen(keys, store, answers, choices), []
    for rung in ladder(keys.recipe):
        found = answers.get(rung)
        fits = found.verdict is Verdict.PASS if found else None
        planned.append(PlannedRung(rung, "cached" if found else "to do", fits, found.why if found else "", rung == chosen))
    return tuple(planned)


def _chosen(keys: Keys, store: Store, answers: Mapping[Rung, Tried], choices: Choices | None) -> Rung | None:
    rungs = ladder(keys.recipe)
    try:
        stays = choices.of(keys, store) if choices and rungs else None
        nobody_to_ask = not bounded_targets(keys.recipe, keys.not_measured)[0]
        if stays is not None and (nobody_to_ask or answers[stays].verdict is Verdict.PASS):
            return stays
        at = first_that_fits(len(rungs), lambda at: answers[rungs[at]].verdict is Verdict.PASS)
    except KeyError:  # a question that the store cannot answer
        return None
    return None if at is None else rungs[at]


def _to_come(step: Step, keys: Keys) -> PlannedStep:
    if why := keys.why_not_taken(step):
        return PlannedStep(step.name, "not measured", why=why)
    return PlannedStep(step.name, "to do", cost=_cost(step, keys.recipe, keys.described))


def planned_steps(keys: Keys, store: Store, wanted: Iterable[Step], choices: Choices | None = None) -> tuple[PlannedStep, ...]:
    """What is to become of these steps, in their order; touches nothing but the keys' memo of image digests. Of a recipe with a
    ladder as of the rung that the store chooses, or that stays of ``choices``; while there is none, all is to do."""
    recipe = keys.recipe
    if recipe.fit is not None:
        chosen = _chosen(keys, store, known(keys, store), choices)
        if chosen is None:
            return tuple(_to_come(step, keys) for step in wanted)
        recipe = at_rung(recipe, chosen)
        keys = keys.of(recipe)
    measured = tuple(name for name in recipe.targets if name not in keys.not_measured)
    outcomes: dict[Step, Outcome] = {}
    planned = []
    for step in wanted:
        if why := keys.why_not_taken(step):
            planned.append(PlannedStep(step.name, "not measured", why=why))
            continue
        needed = list(needed_steps(step, measured))
        stored = None
        if all(need in outcomes for need in needed):
            parts = keys.parts(step, {need.name: outcomes[need] for need in needed})
            stored = store.peek(key_of(parts))
            if stored and to_be_renewed(step, stored.outcome, recipe):
                stored = None
        if stored:
            outcomes[step] = stored.outcome
            planned.append(PlannedStep(step.name, "cached", age_s=stored.age_s))
        else:
            only_prepared = "files and commands only" if step.target in keys.not_measured else None
            planned.append(PlannedStep(step.name, "to do", cost=only_prepared or _cost(step, recipe, keys.described)))
    return tuple(planned)


def _cost(step: Step, recipe: Recipe, described: Description) -> str:
    counts = described.counts
    match step.stage.name:
        case "teacher":
            return _epochs(recipe.teacher, counts["train"]) if recipe.teacher.epochs else ""
        case "distill":
            return "" if isinstance(recipe.distill, Nothing) else _epochs(recipe.distill, counts["train"])
        case "quantize":
            images = f"{min(recipe.quantize.calibration_images, counts['train'])} calibration images"
            training = _epochs(recipe.quantize, counts["train"])
            more = {"ptq": "", "qat": f", {training}", "auto": f"; {training} if a gate asks for them"}
            return images + more[recipe.quantize.mode]
        case "benchmark":
            return f"{counts['test']} test images, timed queries"
        case "preflight":
            return "timed queries"
        case _:
            return ""


def _epochs(section: Training | Quantize, images: int) -> str:
    count, size = batches_of(images, section.batch_size)
    return f"{section.epochs} epochs of {count} steps of {size} images"
