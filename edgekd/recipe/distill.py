"""The ``distill`` section: one class a method, told apart by ``method``; each takes only its own options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgekd.recipe.section import NotNegative, Positive, Section
from edgekd.recipe.training import Training


class Label(Training):
    """The baseline without a teacher: cross-entropy on the labels."""

    method: Literal["label"]


class KD(Training):
    """Soft targets of the teacher beside the labels (Hinton et al. 2015)."""

    method: Literal["kd"]
    temperature: Positive = 4.0
    ce_weight: NotNegative = 0.1
    kd_weight: NotNegative = 0.9


class SLD(Training):
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
    pseudo_teacher_after: Annotated[float, Field(ge=0, le=1)] = 0.625
    detach_pseudo_teacher: bool = False


class Nothing(Section):
    """No training: the student comes with its weights (``student.weights``)."""

    method: Literal["none"]


Distill = Annotated[Label | KD | SLD | Nothing, Field(discriminator="method")]
METHODS = ("label", "kd", "sld", "none")
