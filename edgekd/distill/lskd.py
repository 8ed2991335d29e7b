"""Logit standardisation: knowledge distillation of standardised logits.

Source: Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, §4.2. Weights and temperature: its authors'
public CIFAR-100 settings for plain distillation (0.1 · CE + 9 · KD at T = 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.kd import kd_loss
from edgekd.distill.method import Batch, Method
from edgekd.distill.standardized import standardized


def lskd_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """``kd_loss`` of the standardised logits: the same for a·z + b, row by row, of either network (a > 0).

    student, teacher: logits [B, C], C ≥ 2; of two classes nothing is left but which one is larger. Returns a scalar.
    """
    return kd_loss(standardized(student), standardized(teacher), temperature=temperature)


@dataclass(frozen=True)
class LSKD(Method):
    views: ClassVar[tuple[str, ...]] = ("weak",)

    temperature: float = 2.0
    ce_weight: float = 0.1
    kd_weight: float = 9.0

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_BC, teacher_BC = batch.student["weak"], batch.teacher["weak"]
        return {
            "ce": self.ce_weight * F.cross_entropy(student_BC, batch.labels_B),
            "kd": self.kd_weight * lskd_loss(student_BC, teacher_BC, temperature=self.temperature),
        }
