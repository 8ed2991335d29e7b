"""Decoupled knowledge distillation: how sure the teacher is of the label, and how it ranks the rest, as two terms.

Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, §3. With p_y and q_y the student's and the teacher's
probability of the label at temperature T:

    TCKD = T² · KL([q_y, 1 − q_y] ‖ [p_y, 1 − p_y])      NCKD = T² · KL over the C − 1 other classes, made to sum to 1

so that T² · KL = TCKD + (1 − q_y) · NCKD in every row: plain distillation hides the second where the teacher is sure. Defaults:
its authors' public CIFAR-100 settings for ResNet32x4 → ResNet8x4, with a ramp of 20 of 240 epochs; closer pairs take beta 6 or 2.
Shape suffixes in this file: B batch, C classes, R the C − 1 classes that are not the label, 1 2 a kept axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.kd import divergence
from edgekd.distill.method import Batch, Method, in_full
from edgekd.distill.standardized import compared


def dkd_loss(student: Tensor, teacher: Tensor, labels: Tensor, *, alpha: float, beta: float, temperature: float) -> Tensor:
    """alpha · TCKD + beta · NCKD in nats, mean over the batch, T² included.

    student, teacher: logits [B, C], C ≥ 2; only the student gets a gradient. labels: int64 [B]. Returns a scalar, float32
    (float64 for float64 logits). Nothing is masked by a large number: 1 − q_y is the sum of the others.
    """
    student_B1, student_BR = _label_and_rest(in_full(student) / temperature, labels)
    teacher_B1, teacher_BR = _label_and_rest(in_full(teacher) / temperature, labels)
    tckd_B = divergence(_against_rest(student_B1, student_BR), _against_rest(teacher_B1, teacher_BR))
    nckd_B = divergence(F.log_softmax(student_BR, 1), F.log_softmax(teacher_BR, 1))
    return temperature**2 * (alpha * tckd_B + beta * nckd_B).mean()


@dataclass(frozen=True)
class DKD(Method):
    views: ClassVar[tuple[str, ...]] = ("weak",)

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    ce_weight: float = 1.0
    ramp: float = 20 / 240  # share of the epochs over which the distillation term grows to its full weight
    standardize: bool = False

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_BC, teacher_BC = compared(batch, standardize=self.standardize)
        weights = {"alpha": self.alpha, "beta": self.beta}
        dkd = dkd_loss(student_BC, teacher_BC, batch.labels_B, temperature=self.temperature, **weights)
        return {
            "ce": self.ce_weight * F.cross_entropy(batch.student["weak"], batch.labels_B),
            "dkd": self.grown(batch.progress) * dkd,
        }

    def grown(self, progress: float) -> float:
        """The share of its full weight that the distillation term has by then."""
        return min(progress / self.ramp, 1.0) if self.ramp else 1.0


def _label_and_rest(logits_BC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 1] of the label, and [B, C − 1] of the other classes in their order."""
    label_B1 = labels_B[:, None]
    others_R = torch.arange(logits_BC.shape[1] - 1, device=logits_BC.device)
    return logits_BC.gather(1, label_B1), logits_BC.gather(1, others_R + (others_R >= label_B1))


def _against_rest(label_B1: Tensor, rest_BR: Tensor) -> Tensor:
    """log [p_y, 1 − p_y], [B, 2]."""
    return F.log_softmax(torch.cat([label_B1, rest_BR.logsumexp(1, keepdim=True)], 1), 1)
