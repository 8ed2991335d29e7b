"""Knowledge distillation: match the teacher's softened probabilities.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531 (2015), §2.
Weights and temperature: mdistiller's CIFAR-100 settings (0.1 · CE + 0.9 · KD at T = 4).
Shape suffixes in this file: B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.method import Batch, Method, in_full


def kd_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) at temperature T in nats, mean over the batch; T² keeps the gradient's scale.

    student, teacher: logits [B, C]. Returns a scalar, float32 (float64 for float64 logits).
    """
    log_p_BC = F.log_softmax(in_full(student) / temperature, 1)
    log_q_BC = F.log_softmax(in_full(teacher) / temperature, 1)
    return temperature**2 * F.kl_div(log_p_BC, log_q_BC, log_target=True, reduction="batchmean")


@dataclass(frozen=True)
class KD(Method):
    views: ClassVar[tuple[str, ...]] = ("weak",)

    temperature: float = 4.0
    ce_weight: float = 0.1
    kd_weight: float = 0.9

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_BC = batch.student["weak"]
        return {
            "ce": self.ce_weight * F.cross_entropy(student_BC, batch.labels_B),
            "kd": self.kd_weight * kd_loss(student_BC, batch.teacher["weak"], temperature=self.temperature),
        }
