"""The JSON document of a sweep (schema 1), and its table: a pure function of the documents of its runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Literal

from pydantic import Field, ValidationError

from edgekd.core import EdgekdError, InputError, paired_drop
from edgekd.core.bits import unpacked
from edgekd.core.statistics import difference_over_seeds, mean_over_seeds, seeds_to_tell
from edgekd.report.document import DataPart, Document, ErrorPart, MeasurementPart, StagePart, _Part

SWEEP_FILE = "sweep.json"


class RunPart(_Part):
    """One arm with one seed."""

    seed: int
    folder: str = Field(description="of its run, below the sweep's; edgekd report opens it")
    error: ErrorPart | None = None
    test_top1: MeasurementPart | None = Field(default=None, description="of the fp32 student, on images nothing was chosen by")
    held_out_top1: MeasurementPart | None = Field(default=None, description="where its best epoch was chosen")
    teacher: str | None = Field(default=None, description="key of its teacher's step")
    device: str | None = None
    threads: int | None = None
    epochs: int | None = None
    seconds: float | None = Field(default=None, description="wall time of the distillation, evaluation after each epoch included")
    cpu_seconds: float | None = Field(default=None, description="the same over all cores")
    images: dict[str, int] = Field(
        default_factory=dict, description="images that went forward and back through the student, forward through the teacher"
    )


class SpreadPart(_Part):
    mean: float
    se: float | None = Field(description="standard error of the mean over seeds; null with one seed")
    n: int = Field(description="seeds")


class DifferencePart(_Part):
    """To the baseline, positive when better; with a 95 % interval."""

    value: float
    low: float
    high: float
    over: Literal["seeds", "images"] = Field(
        description="seeds: Student's t, paired by seed; images: one seed, Bonett-Price, paired"
    )
    n: int = Field(description="seeds or images")
    verdict: Literal["better", "worse", "cannot tell"]
    seeds_needed: int | None = Field(
        default=None, description="about how many seeds would tell, if this difference and spread are right"
    )


class ArmPart(_Part):
    name: str
    baseline: bool
    changes: list[str] = Field(description="its own overrides of the recipe")
    left_out: list[str] = Field(description="keys of the recipe's distill section that belong to another method")
    matched: str | None = Field(default=None, description="the arm it repeats for as long as the dearest arm takes")
    runs: list[RunPart]
    test_top1: SpreadPart | None = None
    held_out_top1: SpreadPart | None = None
    difference: DifferencePart | None = None
    seconds: float | None = Field(default=None, description="of training, mean over seeds: of all cores on a CPU, else wall time")
    time_ratio: float | None = Field(default=None, description="to the baseline's seconds")
    image_ratio: float | None = Field(default=None, description="images through student and teacher, to the baseline's")


class TeacherPart(_Part):
    key: str
    seconds: float | None
    test_top1: MeasurementPart | None
    held_out_top1: MeasurementPart | None


class SweepDocument(_Part):
    """What a sweep compared."""

    schema_: Literal[1] = Field(alias="schema")
    exit_code: int = Field(description="0 when every arm was measured with every seed, else that of the first error")
    sweep: str = Field(description="the sweep's folder")
    recipe: str
    name: str
    digest: str | None = Field(None, description="of the recipes of all arms and seeds: another set of arms has another")
    command: str = Field(description="makes, or goes on with, this sweep")
    until: str
    baseline: str
    seeds: list[int]
    teachers: list[TeacherPart]
    arms: list[ArmPart] = Field(description="the best mean first")
    notes: list[str] = Field([], description="what to know about the table, such as why an arm that was asked for is not in it")
    test_opened: int | None = Field(
        None, description="how often runs that share this store have opened the test split of these images"
    )
    data: DataPart | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    started: str | None = None
    seconds: float | None = None


def sweep_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the document."""
    schema = SweepDocument.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "edgekd sweep, schema 1"}


def parse_sweep(document: SweepDocument | Mapping[str, Any]) -> SweepDocument:
    """Raises InputError: not a document of schema 1."""
    if isinstance(document, SweepDocument):
        return document
    try:
        return SweepDocument.model_validate(document)
    except ValidationError as error:
        raise InputError("not an edgekd sweep of schema 1", where=SWEEP_FILE, seen=str(error.errors()[0]["loc"])) from error


def run_part(seed: int, folder: str, found: Document | EdgekdError) -> RunPart:
    """What a sweep wants to know of one run."""
    if isinstance(found, EdgekdError):
        return RunPart(seed=seed, folder=folder, error=ErrorPart(**found.as_json()))
    exam, distil, teacher = (_step(found, name) for name in ("exam", "distill", "teacher"))
    told, compute = (distil.notes.get(name, {}) if distil else {} for name in ("training", "compute"))
    return RunPart(
        seed=seed, folder=folder, error=found.error, teacher=teacher.key if teacher else None,
        test_top1=exam.measurement("top1") if exam else None, held_out_top1=distil.measurement("top1") if distil else None,
        device=compute.get("device"), threads=compute.get("threads"), epochs=told.get("epochs"),
        seconds=told.get("seconds"), cpu_seconds=told.get("cpu_seconds"), images=told.get("images", {}),
    )  # fmt: skip


def teachers_of(documents: Sequence[Document]) -> list[TeacherPart]:
    """Each teacher once."""
    found: dict[str, TeacherPart] = {}
    for document in documents:
        made, exam = _step(document, "teacher"), _step(document, "teacher_exam")
        if made is not None and made.key and made.measurements:
            test = exam.measurement("top1") if exam else None
            part = TeacherPart(key=made.key, seconds=made.seconds, test_top1=test, held_out_top1=made.measurement("top1"))
            found.setdefault(made.key, part)
    return list(found.values())


def tabulated(arms: Sequence[ArmPart], baseline: str) -> list[ArmPart]:
    """The arms with their means, differences and ratios, the best first and what was not measured last."""
    against = next(arm for arm in arms if arm.name == baseline)
    seconds = training_seconds(arms)
    rows = [_row(arm, against, seconds) for arm in arms]
    return sorted(rows, key=lambda row: -row.test_top1.mean if row.test_top1 else 1.0)


def training_seconds(arms: Sequence[ArmPart]) -> dict[str, float]:
    """By arm, mean over its seeds: where all trained on CPUs of all their cores, which other work there hardly moves, else by the
    clock on the wall. Without arms that did not train."""
    trained = {arm.name: [run for run in arm.runs if run.seconds is not None] for arm in arms}
    every = [run for runs in trained.values() for run in runs]
    on_cpu = all(run.device == "cpu" and run.cpu_seconds is not None for run in every)
    taken = {name: [run.cpu_seconds if on_cpu else run.seconds for run in runs] for name, runs in trained.items()}
    return {name: mean for name, times in taken.items() if (mean := fmean([one or 0.0 for one in times] or [0.0])) > 0}


def _row(arm: ArmPart, against: ArmPart, seconds: Mapping[str, float]) -> ArmPart:
    own, other = seconds.get(arm.name), seconds.get(against.name)
    images, other_images = _mean_images(arm), _mean_images(against)
    return arm.model_copy(
        update={
            "test_top1": _spread([run.test_top1 for run in arm.runs]),
            "held_out_top1": _spread([run.held_out_top1 for run in arm.runs]),
            "difference": None if arm is against else _difference(arm, against),
            "seconds": own,
            "time_ratio": own / other if own and other else None,
            "image_ratio": images / other_images if images and other_images else None,
        }
    )


def _mean_images(arm: ArmPart) -> float | None:
    counts = [sum(run.images.values()) for run in arm.runs if run.images]
    return fmean(counts) if counts else None


def _spread(measured: Sequence[MeasurementPart | None]) -> SpreadPart | None:
    values = [one.value for one in measured if one is not None and one.value is not None]
    if not values:
        return None
    mean, error = mean_over_seeds(values)
    return SpreadPart(mean=mean, se=error, n=len(values))


def _difference(arm: ArmPart, against: ArmPart) -> DifferencePart | None:
    """Over the seeds that both have; of a single one, over its images."""
    other = {run.seed: run.test_top1 for run in against.runs}
    pairs = [(run.test_top1, other.get(run.seed)) for run in arm.runs]
    both = [(a, b) for a, b in pairs if a is not None and b is not None and a.value is not None and b.value is not None]
    if len(both) > 1:
        differences = [(a.value or 0.0) - (b.value or 0.0) for a, b in both]
        least = 1 / both[0][0].n
        value, low, high = difference_over_seeds(differences, least)
        low, high = max(low, -1.0), min(high, 1.0)  # shares differ by no more
        needed = seeds_to_tell(value, max(stdev(differences), least))
        return _judged(value, low, high, "seeds", len(both), needed)
    return paired_on_images(*both[0]) if both else None


def paired_on_images(arm: MeasurementPart, against: MeasurementPart) -> DifferencePart | None:
    """The difference of two shares of the same images; None where they do not say which images they had right."""
    right, right_against = unpacked(arm.right, arm.n), unpacked(against.right, against.n)
    if not right or not right_against or len(right) != len(right_against):
        return None
    found = paired_drop("difference", right, right_against)
    return _judged(found.value or 0.0, found.low or 0.0, found.high or 0.0, "images", found.n, None)


def _judged(
    value: float, low: float, high: float, over: Literal["seeds", "images"], n: int, needed: int | None
) -> DifferencePart:
    verdict: Literal["better", "worse", "cannot tell"] = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    told = needed if verdict == "cannot tell" else None
    return DifferencePart(value=value, low=low, high=high, over=over, n=n, verdict=verdict, seeds_needed=told)


def _step(document: Document, name: str) -> StagePart | None:
    return next(iter(document.steps(name)), None)


def render_csv(document: SweepDocument | Mapping[str, Any]) -> str:
    """A line an arm, accuracies as shares. Raises InputError: not a document of a sweep."""
    document = parse_sweep(document)
    out = io.StringIO()
    rows = [_csv_row(arm, document.seeds) for arm in document.arms]
    table = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def _csv_row(arm: ArmPart, seeds: Sequence[int]) -> dict[str, Any]:
    test, held_out, gap = arm.test_top1, arm.held_out_top1, arm.difference
    by_seed = {run.seed: run.test_top1.value if run.test_top1 else None for run in arm.runs}
    return {
        "arm": arm.name,
        "baseline": arm.baseline,
        **{name: getattr(test, at, None) for name, at in (("test_top1", "mean"), ("se", "se"), ("seeds", "n"))},
        "held_out_top1": held_out.mean if held_out else None,
        **{name: getattr(gap, at, None) for name, at in (("difference", "value"), ("low", "low"), ("high", "high"))},
        **{name: getattr(gap, name, None) for name in ("over", "verdict")},
        "train_seconds": arm.seconds,
        "time_ratio": arm.time_ratio,
        "image_ratio": arm.image_ratio,
        **{f"test_top1_seed_{seed}": by_seed.get(seed) for seed in seeds},
        "error": next((run.error.what for run in arm.runs if run.error), None),
    }
