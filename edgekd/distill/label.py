"""Labels only: cross-entropy without a teacher. It trains teachers, and is the zero from which every method's gain is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.method import Batch, Method


@dataclass(frozen=True)
class Label(Method):
    views: ClassVar[tuple[str, ...]] = ("weak",)
    needs_teacher: ClassVar[bool] = False

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(batch.student["weak"], batch.labels_B)}
