"""Standardised logits: the student keeps its own mean and scale, and only the shape of its answer is compared.

Source: Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, §4.2; the small number under the fraction is
that of its authors' public code. An option of every method that compares logits; cross-entropy always sees them as they are.
"""

from __future__ import annotations

from torch import Tensor

from edgekd.distill.method import Batch, in_full


def standardized(logits: Tensor) -> Tensor:
    """(z − mean) / (1e-7 + std) over the classes, the last axis, std with one degree of freedom less; float32 or float64."""
    logits = in_full(logits)
    return (logits - logits.mean(-1, keepdim=True)) / (1e-7 + logits.std(-1, keepdim=True))


def compared(batch: Batch, *, standardize: bool) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's logits [B, C] of the weak view, as a method is to compare them."""
    student_BC, teacher_BC = batch.student["weak"], batch.teacher["weak"]
    return (standardized(student_BC), standardized(teacher_BC)) if standardize else (student_BC, teacher_BC)
