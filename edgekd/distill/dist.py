"""DIST: match how probabilities relate, not what they are: across the classes of an image, and across the images of a class.

Source: Huang et al., "Knowledge Distillation from a Stronger Teacher", NeurIPS 2022, §3.2 and §3.3. With p, q = softmax(z / τ)
and Pearson's correlation ρ:

    DIST = τ² · [ beta · (1 − mean over rows of ρ(p, q)) + gamma · (1 − mean over columns of ρ(p, q)) ]

Defaults: its authors' public CIFAR-100 settings; for ImageNet they use τ = 1. Their code adds 1e-8 under the fraction, which
takes classes that no image of a batch looks like for uncorrelated; here a correlation is what it is, however small its numbers.
Shape suffixes in this file: B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.method import Batch, Method, in_full
from edgekd.distill.standardized import compared


def dist_loss(student: Tensor, teacher: Tensor, *, beta: float, gamma: float, temperature: float) -> Tensor:
    """τ² · (beta · distance of rows + gamma · distance of columns), each 1 − ρ on average, in [0, 2]; τ is ``temperature``.

    student, teacher: logits [B, C]; only the student gets a gradient. A row or column whose probabilities are all the same has no
    correlation: it teaches nothing, and counts 1/2, or 0 if it is so in both. Returns a scalar, float32 (float64 for float64
    logits).
    """
    p_BC = F.softmax(in_full(student) / temperature, 1)
    q_BC = F.softmax(in_full(teacher).detach() / temperature, 1)
    return temperature**2 * (beta * _decorrelation(p_BC, q_BC, 1) + gamma * _decorrelation(p_BC, q_BC, 0))


@dataclass(frozen=True)
class DIST(Method):
    views: ClassVar[tuple[str, ...]] = ("weak",)

    temperature: float = 4.0
    beta: float = 1.0
    gamma: float = 1.0
    ce_weight: float = 1.0
    kd_weight: float = 2.0
    standardize: bool = False

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_BC, teacher_BC = compared(batch, standardize=self.standardize)
        dist = dist_loss(student_BC, teacher_BC, beta=self.beta, gamma=self.gamma, temperature=self.temperature)
        return {
            "ce": self.ce_weight * F.cross_entropy(batch.student["weak"], batch.labels_B),
            "dist": self.kd_weight * dist,
        }


def _decorrelation(p: Tensor, q: Tensor, axis: int) -> Tensor:
    """1 − ρ along ``axis``, on average. As half the squared distance of unit vectors it is never negative and keeps its digits
    when it is small."""
    return (_direction(p, axis) - _direction(q, axis)).square().sum(axis).mean() / 2


def _direction(probabilities: Tensor, axis: int) -> Tensor:
    """Deviations from the mean, of length 1; 0, and no gradient, where all are the same up to rounding.

    Scaled by the largest first, which changes no correlation: the squares of small probabilities would be 0.
    """
    largest = probabilities.detach().amax(axis, keepdim=True).clamp_min(torch.finfo(probabilities.dtype).tiny)
    scaled = probabilities / largest
    deviation = scaled - scaled.mean(axis, keepdim=True)
    length: Tensor = deviation.norm(dim=axis, keepdim=True)
    return deviation / length.masked_fill(length < 1e-6, torch.inf)
