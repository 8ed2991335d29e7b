"""The ``distill`` section: one class a method, told apart by ``method``; each takes only its own options.

What they mean, and where the defaults come from, is said by the method of the same name in ``edgekd.distill``.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from edgekd.recipe.problem import Problem, Problems
from edgekd.recipe.section import NotNegative, Positive, Section
from edgekd.recipe.training import Training, batches_of

Share = Annotated[float, Field(ge=0, le=1)]
_TAPS = 'must be auto, [] (the logits alone), or pairs such as [["layer2", "features.6"]] (module of teacher, of student)'


def _taps(value: object) -> object:
    if value == "auto":
        return value
    if not isinstance(value, (list, tuple)):
        raise ValueError(_TAPS)
    pairs = [tuple(pair) if isinstance(pair, (list, tuple)) else () for pair in value]
    if not all(len(pair) == 2 and all(isinstance(name, str) and name for name in pair) for pair in pairs):
        raise ValueError(_TAPS)
    return tuple(pairs)


Taps = Annotated[
    Literal["auto"] | tuple[tuple[str, str], ...],
    BeforeValidator(_taps, json_schema_input_type=Literal["auto"] | list[tuple[str, str]]),
]


class Label(Training):
    """The baseline without a teacher: cross-entropy on the labels."""

    method: Literal["label"]


class LogitMethod(Training):
    """standardize: logits of both networks are standardised before they are compared (Sun et al. 2024)."""

    standardize: bool = False


class KD(LogitMethod):
    """Soft targets of the teacher beside the labels (Hinton et al. 2015)."""

    method: Literal["kd"]
    temperature: Positive = 4.0
    ce_weight: NotNegative = 0.1
    kd_weight: NotNegative = 0.9


class DKD(LogitMethod):
    """Decoupled distillation (Zhao et al. 2022). ramp: share of the training over which it grows to its full weight."""

    method: Literal["dkd"]
    temperature: Positive = 4.0
    alpha: NotNegative = 1.0
    beta: NotNegative = 8.0
    ce_weight: NotNegative = 1.0
    ramp: Share = 20 / 240


class LSKD(Training):
    """Soft targets of standardised logits (Sun et al. 2024)."""

    method: Literal["lskd"]
    temperature: Positive = 2.0
    ce_weight: NotNegative = 0.1
    kd_weight: NotNegative = 9.0


class DIST(LogitMethod):
    """Correlations between and within classes (Huang et al. 2022)."""

    method: Literal["dist"]
    temperature: Positive = 4.0
    beta: NotNegative = 1.0
    gamma: NotNegative = 1.0
    ce_weight: NotNegative = 1.0
    kd_weight: NotNegative = 2.0


class Channel(Training):
    """Soft targets, and where in each feature map the teacher looks (Shu et al. 2021)."""

    method: Literal["channel"]
    temperature: Positive = 4.0
    ce_weight: NotNegative = 1.0
    kd_weight: NotNegative = 1.0
    channel_weight: NotNegative = 1.0
    taps: Taps = "auto"


class SLD(LogitMethod):
    """Swapped logit distillation (Limantoro et al. 2025). pseudo_teacher_after: share of the training."""

    method: Literal["sld"]
    temperatures: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1, max_length=32)] = (
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
        6.0,
    )
    ce_weight: NotNegative = 0.1
    kd_weight: NotNegative = 0.9
    pseudo_teacher_after: Share = 0.625
    detach_pseudo_teacher: bool = False
    swap: bool = True


class _FFKD(Training):
    """Forward and feedback distillation (Gou et al. 2024), as reconstructed: see docs/ffkd.md."""

    temperature: Positive = 4.0
    ce_weight: NotNegative = 1.0
    kd_weight: NotNegative = 1.0
    channel_weight: NotNegative = 1.0
    taps: Taps = "auto"
    cka: Literal["unbiased", "biased", "shuffled", "off"] = "unbiased"
    students: Annotated[int, Field(ge=1, le=16)] = 1
    feedback_every: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    feedback_start: Share = 0.4
    feedback_stop: Share = 0.85
    feedback_ce_weight: NotNegative = 1.0
    feedback_kd_weight: NotNegative = 1.0
    feedback_channel_weight: NotNegative = 1.0
    feedback_anchor_weight: NotNegative = 0.0
    feedback_weighting: Literal["gap", "understanding", "none"] = "gap"
    feedback_block_gate: bool = True
    feedback_conflict_gate: bool = True
    feedback_learning_rate: NotNegative = 0.2
    feedback_gradient_norm: Positive | None = 1.0
    feedback_batch_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    feedback_tunes: Literal["all", "tail", "head"] = "all"
    feedback_batch_norm: Literal["eval", "train"] = "eval"
    feedback_rollback: bool = True

    @property
    def least_batch(self) -> int:
        """Four where networks are compared by the unbiased CKA: their maps, or their answers to a feedback batch."""
        maps = self.channel_weight > 0 and bool(self.taps) and self.cka != "off"
        answers = self.feedback_every > 0 and self.feedback_kd_weight > 0
        return 4 if (maps or answers) and self.cka != "biased" else super().least_batch

    def feedback_comes(self, images: int) -> bool:
        """Whether one of the teacher's turns falls into the time between start and stop, with so many train images."""
        steps = self.epochs * batches_of(images, self.batch_size)[0]
        turns = range(self.feedback_every, steps + 1, self.feedback_every)
        return any(self.feedback_start <= turn / steps < self.feedback_stop for turn in turns)

    @model_validator(mode="after")
    def _can_be_done(self) -> _FFKD:
        problems = []
        if self.batch_size < self.least_batch:
            least, seen = self.least_batch, str(self.batch_size)
            what = f"distill.batch_size must be ≥ {least} for the unbiased CKA that networks are compared by, is {seen}"
            problems.append(Problem(("batch_size",), what, seen, f"batch_size: {least}, or cka: biased"))
        if self.feedback_every > 0 and self.feedback_start >= self.feedback_stop:
            what = f"feedback never comes: feedback_start {self.feedback_start:g}, feedback_stop {self.feedback_stop:g}"
            at = "feedback_start" if "feedback_start" in self.model_fields_set else "feedback_stop"
            problems.append(Problem((at,), what, None, "a start before the stop, or feedback_every: 0"))
        if problems:
            raise Problems(problems)
        return self


class FFKD(_FFKD):
    method: Literal["ffkd"]


class FFKDPublic(_FFKD):
    """In the form of the public code: plain CKA, constant weights, sums, no safeguards."""

    method: Literal["ffkd-public"]
    cka: Literal["unbiased", "biased", "shuffled", "off"] = "biased"
    feedback_start: Share = 0.0
    feedback_stop: Share = 1.0
    feedback_weighting: Literal["gap", "understanding", "none"] = "none"
    feedback_conflict_gate: bool = False
    feedback_learning_rate: NotNegative = 0.05
    feedback_gradient_norm: Positive | None = None
    feedback_batch_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    feedback_batch_norm: Literal["eval", "train"] = "train"
    feedback_rollback: bool = False


class FFKDAdapt(_FFKD):
    """The teacher adapts to the student's images by cross-entropy alone."""

    method: Literal["ffkd-adapt"]
    channel_weight: NotNegative = 0.0
    feedback_start: Share = 0.15
    feedback_kd_weight: NotNegative = 0.0
    feedback_channel_weight: NotNegative = 0.0


class Nothing(Section):
    """No training: the student comes with its weights (``student.weights``)."""

    method: Literal["none"]


_Method = Label | KD | DKD | LSKD | DIST | Channel | SLD | FFKD | FFKDPublic | FFKDAdapt | Nothing
Distill = Annotated[_Method, Field(discriminator="method")]
SECTIONS: dict[str, type[Section]] = {get_args(one.model_fields["method"].annotation)[0]: one for one in get_args(_Method)}
METHODS = tuple(SECTIONS)
TEACHER_LEARNS = (FFKD, FFKDPublic, FFKDAdapt)
