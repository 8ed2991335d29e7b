"""The chain as a table without torch: what each stage needs, what of the recipe it reads, and where its function lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of the chain.

    version: raised by hand when the meaning of the stage's output changes. entry: ``module:function`` taking a ``stages.Context``
    and returning an ``Outcome``. needs: stages whose artifacts it takes. reads: sections of the recipe that decide its result.
    rooms: folders of edgekd whose source is part of the stage's key, beside ``core`` and what stages share. per_target: runs
    once for each target. torch: runs in the worker process. data: its result depends on the images. prepares: runs also for a
    target that cannot be measured, and then makes what the device will need.
    """

    name: str
    version: int
    entry: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    rooms: tuple[str, ...]
    per_target: bool = False
    torch: bool = False
    data: bool = False
    prepares: bool = False


CHAIN: tuple[Stage, ...] = (
    Stage(
        "sketch", 1, "edgekd.stages.sketch:run", (), ("seed", "data", "student"),
        ("data", "device", "models", "quant", "export", "targets"), torch=True, data=True,
    ),
    Stage(
        "preflight", 1, "edgekd.stages.preflight:run", ("sketch",), (),
        ("targets", "device"), per_target=True,
    ),
    Stage(
        "teacher", 1, "edgekd.stages.teacher:run", (), ("seed", "compute", "data", "teacher"),
        ("data", "device", "models", "distill"), torch=True, data=True,
    ),
    Stage(
        "distill", 1, "edgekd.stages.distill:run", ("teacher",), ("seed", "compute", "data", "student", "distill"),
        ("data", "device", "models", "distill"), torch=True, data=True,
    ),
    Stage(
        "quantize", 1, "edgekd.stages.quantize:run", ("teacher", "distill"),
        ("seed", "compute", "data", "teacher", "distill", "quantize"),
        ("data", "device", "models", "distill", "quant", "targets"), torch=True, data=True,
    ),
    Stage(
        "export", 1, "edgekd.stages.export:run", ("distill", "quantize"), ("compute", "data", "quantize"),
        ("data", "device", "models", "quant", "export", "targets"), torch=True, data=True,
    ),
    Stage(
        "build", 1, "edgekd.stages.build:run", ("export",), (),
        ("targets", "device"), per_target=True, prepares=True,
    ),
    Stage(
        "benchmark", 1, "edgekd.stages.benchmark:run", ("export", "build"), ("data",),
        ("targets", "device", "data"), per_target=True, data=True,
    ),
    Stage(
        "bundle", 1, "edgekd.stages.bundle:run", ("teacher", "distill", "quantize", "export", "build", "benchmark"),
        ("name", "data", "targets"),
        ("bundle", "device", "data", "targets"), data=True,
    ),
)  # fmt: skip

STAGES: Mapping[str, Stage] = {stage.name: stage for stage in CHAIN}

# What a sweep asks beside the chain: how good each fp32 network is on the test images, right after it is made.
EXAMS: Mapping[str, Stage] = {
    "teacher": Stage(
        "teacher_exam", 1, "edgekd.stages.exam:teacher", ("teacher",), ("data",),
        ("data", "device", "models"), torch=True, data=True,
    ),
    "distill": Stage(
        "exam", 1, "edgekd.stages.exam:student", ("distill",), ("data",),
        ("data", "device", "models"), torch=True, data=True,
    ),
}  # fmt: skip
OPEN_TEST = ("teacher_exam", "exam", "benchmark")
ASKED_BEFOREHAND = ("sketch", "preflight")  # of a student that nobody has trained yet: what a sweep compares is trained


@dataclass(frozen=True)
class Step:
    """A stage for one target, or for none: the unit that runs, caches and is judged."""

    stage: Stage
    target: str | None = None

    @property
    def name(self) -> str:
        """Also the step's folder in the run."""
        return f"{self.target}/{self.stage.name}" if self.target else self.stage.name


def steps(targets: tuple[str, ...], until: str | None = None, *, exams: bool = False) -> Iterator[Step]:
    """The steps of a run in order, up to and with stage ``until``. exams: as in a sweep."""
    for stage in CHAIN:
        if exams and stage.name in ASKED_BEFOREHAND:
            continue
        if stage.per_target:
            yield from (Step(stage, target) for target in targets)
        else:
            yield Step(stage)
        if exams and stage.name in EXAMS:
            yield Step(EXAMS[stage.name])
        if stage.name == until:
            return


def needed_steps(step: Step, targets: tuple[str, ...]) -> Iterator[Step]:
    """The steps whose outcomes ``step`` takes: of the same target if it has one, else of every target."""
    for name in step.stage.needs:
        stage = STAGES[name]
        if not stage.per_target:
            yield Step(stage)
        else:
            yield from (Step(stage, target) for target in ((step.target,) if step.target else targets))
