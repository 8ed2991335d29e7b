"""Knowledge distillation: match the teacher's softened probabilities.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531 (2015), §2.
Weights and temperature: mdistiller's CIFAR-100 settings (0.1 · CE + 0.9 · KD at T = 4).
Shape suffixes in this file: B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from edgekd.distill.method import Batch, Method, in_full
from edgekd.distill.standardized import compared


def kd_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) at temperature T in nats, mean over the batch; T² keeps the gradient's scale.

    student, teacher: logits [B, C]; only the student gets a gradient. Returns a scalar, float32 (float64 for float64 logits).
    """
    log_p_BC = F.log_softmax(in_full(student) / temperature, 1)
    log_q_BC = F.log_softmax(in_full(teacher) / temperature, 1)
    return temperature**2 * divergence(log_p_BC, log_q_BC).mean()


@dataclass(frozen=True)
class KD(Method):
    views: ClassVar[tuple[str, ...]] = ("weak",)

    temperature: float = 4.0
    ce_weight: float = 0.1
    kd_weight: float = 0.9
    standardize: bool = False

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_BC, teacher_BC = compared(batch, standardize=self.standardize)
        return {
            "ce": self.ce_weight * F.cross_entropy(batch.student["weak"], batch.labels_B),
            "kd": self.kd_weight * kd_loss(student_BC, teacher_BC, temperature=self.temperature),
        }


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q ‖ p) over the last axis, in nats, from log-probabilities [..., C]; only ``log_p`` gets a gradient.

    Two nets that are sure of the same class differ by less than a float32 step near 1, and a plain Σ q log(q/p) and its gradient
    then are rounding noise. Here both keep their digits.
    """
    rows: Tensor = _Divergence.apply(log_p, log_q.detach())
    return rows


def divergence_terms(p: Tensor, q: Tensor, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
    """q log(q/p) + p − q, and p − q, entry by entry, with log_ratio = log(q/p).

    The added p − q sums to 0 over the classes and makes every term ≥ 0, so that none cancels another; it is itself computed
    without cancelling where p and q are close: p − q = (p + q) tanh(log(p/q) / 2).
    """
    change = torch.mul(log_ratio, -0.5).tanh_().mul_(p + q)
    return torch.addcmul(change, q, log_ratio), change


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_p: Tensor, log_q: Tensor) -> Tensor:
        terms, change = divergence_terms(log_p.exp(), log_q.exp(), log_q - log_p)
        ctx.save_for_backward(change)
        return terms.sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Σ p is 1, so by log p the gradient may be p − q as well as −q: through a log_softmax both give p − q."""
        (change,) = ctx.saved_tensors
        return grad[..., None] * change, None
