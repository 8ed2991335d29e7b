"""Swapped Logit Distillation (SLD): put the highest logit on the true class, in the teacher and in the student, then match.

Source: Limantoro et al., "Swapped Logit Distillation via Bi-level Teacher Alignment", Multimedia Systems 31:264 (2025), arXiv
2504.20108, as its authors' public code computes it. With t' = swap(t, y) and s' = swap(s, y), over both views v and all T:

    L = Σ_v [ ce_weight · CE(s_v, y) + kd_weight · Σ_T ( KL_T(t'_v → s_v) + KL_T(s'_v → s_v) if the pseudo-teacher is on ) ]

KL_T(q → p) is T² · KL at temperature T, mean over the batch. The loss and its gradient are computed together from closed
forms (below); there is no graph and no boolean indexing, which would make a GPU wait, and on a GPU no loop over temperatures.
Shape suffixes in this file: B batch, C classes, V views, K temperatures, 1 a kept axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from edgekd.distill.kd import divergence_terms
from edgekd.distill.method import Batch, Method, in_full
from edgekd.distill.standardized import standardized

ENOUGH_DIGITS = 6.0  # of a distance: below, it is computed again in a way that keeps them, at twice the time


def swap(logits: Tensor, labels: Tensor) -> Tensor:
    """Exchange each row's largest logit with the logit of its label; rows already right stay as they are.

    logits: [..., B, C]; labels: int64 [B]. Commutes with the softmax at any temperature. Among equal largest logits the first
    counts on a CPU; exchanging equal values changes nothing.
    """
    label_1 = labels.expand(logits.shape[:-1])[..., None]
    top_1 = logits.argmax(-1, keepdim=True)
    return logits.scatter(-1, label_1, logits.gather(-1, top_1)).scatter(-1, top_1, logits.gather(-1, label_1))


def sld_loss(
    student_views: Sequence[Tensor],
    teacher_views: Sequence[Tensor],
    labels: Tensor,
    *,
    temperatures: Sequence[float] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    pseudo_teacher: bool,
    detach_pseudo_teacher: bool = False,
    ce_weight: float = 0.1,
    kd_weight: float = 0.9,
) -> Tensor:
    """SLD's total loss, a scalar in nats.

    student_views, teacher_views: logits [B, C], one tensor a view, in the same order; the teacher's not yet swapped and without
    gradient. labels: int64 [B]. pseudo_teacher: add the swapped student as a second teacher; as published its own gradient
    flows too, unless ``detach_pseudo_teacher``. Computed in float32 (float64 if the student's logits are).
    """
    student_VBC, target_VBC = torch.stack(list(student_views)), swap(torch.stack(list(teacher_views)), labels)
    flags, weights = (pseudo_teacher, detach_pseudo_teacher), (ce_weight, kd_weight)
    return _terms(student_VBC, target_VBC, labels, temperatures, *flags, *weights).sum()


@dataclass(frozen=True)
class SLD(Method):
    """Logs beside its losses how often the swap changed something: where the teacher's rates are 0, SLD is plain
    distillation with two views and several temperatures.

    swap: false leaves teacher and student as they are, which is that control; and where labels are wrong, swapping would teach
    them with the teacher's authority.
    """

    views: ClassVar[tuple[str, ...]] = ("weak", "strong")

    temperatures: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    ce_weight: float = 0.1
    kd_weight: float = 0.9
    pseudo_teacher_after: float = 0.625  # share of the epochs; published as "after epoch 150 of 240"
    detach_pseudo_teacher: bool = False
    swap: bool = True
    standardize: bool = False

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_VBC, teacher_VBC = (
            torch.stack([logits[view] for view in self.views]) for logits in (batch.student, batch.teacher)
        )
        if self.standardize:
            student_VBC, teacher_VBC = standardized(student_VBC), standardized(teacher_VBC)
        target_VBC = swap(teacher_VBC, batch.labels_B) if self.swap else teacher_VBC
        flags = (self.swap and batch.progress > self.pseudo_teacher_after, self.detach_pseudo_teacher)
        terms = _terms(student_VBC, target_VBC, batch.labels_B, self.temperatures, *flags, self.ce_weight, self.kd_weight)
        losses = dict(zip(("ce", "kd_teacher", "kd_pseudo_teacher"), terms.unbind(), strict=False))
        if self.standardize:
            each = [F.cross_entropy(batch.student[view], batch.labels_B) for view in self.views]
            losses["ce"] = self.ce_weight * torch.stack(each).sum()
        return losses

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Share of rows whose largest logit is not the label's: ``swap_rate.{student,teacher}.{weak,strong}``."""
        with torch.no_grad():
            return {
                f"swap_rate.{whose}.{view}": (in_full(logits[view]).argmax(1) != batch.labels_B).float().mean()
                for whose, logits in (("teacher", batch.teacher), ("student", batch.student))
                for view in self.views
            }


def _terms(
    student_VBC: Tensor,
    target_VBC: Tensor,
    labels_B: Tensor,
    temperatures: Sequence[float],
    pseudo_teacher: bool,
    detach_pseudo_teacher: bool,
    ce_weight: float,
    kd_weight: float,
) -> Tensor:
    """The weighted terms [2 or 3]: cross-entropy, distance to the target, distance to the pseudo-teacher if it is on."""
    student_VBC = in_full(student_VBC)
    target_VBC = target_VBC.detach().to(student_VBC.dtype)
    flags, weights = (pseudo_teacher, detach_pseudo_teacher), (ce_weight, kd_weight)
    terms: Tensor = _OnePass.apply(student_VBC, target_VBC, labels_B, tuple(temperatures), *flags, *weights)
    return terms


class _OnePass(torch.autograd.Function):
    """Terms and their gradients together. For each row, with p = softmax(s/T), q = softmax(t'/T) of the target:

    * CE: p_1 − onehot(y).
    * teacher, Σ_T T² KL(q ‖ p): Σ_T T (p − q).
    * pseudo-teacher: with b = argmax s, d = s_b − s_y and m = p_b − p_y, T² KL(s' → s) = T m d. Its gradient is +T m at b and
      −T m at y when detached; undetached, −d m p_k joins at every k, +d p_b at b and −d p_y at y. All are 0 in rows that are
      right (b = y), so the term pulls the label up to a tie and never past it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student_VBC: Tensor,
        target_VBC: Tensor,
        labels_B: Tensor,
        temperatures: tuple[float, ...],
        pseudo_teacher: bool,
        detach_pseudo_teacher: bool,
        ce_weight: float,
        kd_weight: float,
    ) -> Tensor:
        batch = labels_B.shape[0]
        label_VB1 = labels_B.expand(student_VBC.shape[:-1])[..., None]
        log_p_VBC = student_VBC.log_softmax(-1)
        ce = -log_p_VBC.gather(-1, label_VB1).sum()
        ce_grad_VBC = log_p_VBC.exp_().scatter_add_(-1, label_VB1, torch.full_like(label_VB1, -1, dtype=log_p_VBC.dtype))
        flags = (label_VB1, pseudo_teacher, detach_pseudo_teacher)
        if student_VBC.is_cpu:  # quicker with one temperature after another, whose numbers stay in its caches
            each = [torch.tensor(one, dtype=student_VBC.dtype).view(1, 1, 1, 1) for one in temperatures]
            sums, digits = _over_temperatures(student_VBC, target_VBC, each, _plain_distance, *flags)
            if digits < ENOUGH_DIGITS:
                sums, _ = _over_temperatures(student_VBC, target_VBC, each, _exact_distance, *flags)
        else:  # all in one launch; new_tensor, and asking for the digits, would wait for the device
            together = torch.tensor(temperatures, dtype=student_VBC.dtype)[:, None, None, None]
            together = together.to(student_VBC.device, non_blocking=True)
            sums, _ = _over_temperatures(student_VBC, target_VBC, [together], _exact_distance, *flags)
        kd, kd_grad_VBC, pseudo, pseudo_grad_VBC = sums

        terms = [ce_weight / batch * ce, kd_weight / batch * kd]
        gradients = [ce_weight / batch * ce_grad_VBC, kd_weight / batch * kd_grad_VBC]
        if pseudo_teacher:
            terms.append(kd_weight / batch * pseudo)
            gradients.append(kd_weight / batch * pseudo_grad_VBC)
        ctx.save_for_backward(torch.stack(gradients))
        return torch.stack(terms)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_of_terms: Tensor) -> tuple[Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        return torch.einsum("n,nvbc->vbc", grad_of_terms, gradients), None, None, None, None, None, None, None


def _over_temperatures(
    student_VBC: Tensor,
    target_VBC: Tensor,
    temperatures: Iterable[Tensor],
    distance: Callable[..., tuple[Tensor, Tensor, Tensor]],
    label_VB1: Tensor,
    pseudo_teacher: bool,
    detach_pseudo_teacher: bool,
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], float]:
    """Distance to the target and its gradient, the pseudo-teacher's term and its gradient, summed over rows and temperatures,
    [K, 1, 1, 1] at a time; and to how many decimal digits the first is known (infinite: as well as its terms are)."""
    largest_VB1, top_VB1 = student_VBC.max(-1, keepdim=True)
    student_VBC, target_VBC = student_VBC - largest_VB1, target_VBC - target_VBC.amax(-1, keepdim=True)
    gap_VB1 = -student_VBC.gather(-1, label_VB1)
    ahead_VBC = target_VBC - student_VBC
    kd = pseudo = size = student_VBC.new_zeros(())
    kd_grad_VBC, pseudo_grad_VBC = torch.zeros_like(student_VBC), torch.zeros_like(student_VBC)
    for T_K111 in temperatures:
        p_KVBC, sum_p_KVB1 = _softened(student_VBC, T_K111)
        q_KVBC, sum_q_KVB1 = _softened(target_VBC, T_K111)
        apart_KVB, change_KVBC, size_KVB = distance(p_KVBC, q_KVBC, ahead_VBC, sum_p_KVB1, sum_q_KVB1, T_K111)
        kd = kd + (T_K111[..., 0] ** 2 * apart_KVB).sum()
        size = size + (T_K111[..., 0] ** 2 * size_KVB).sum()
        kd_grad_VBC.view(-1).addmv_(change_KVBC.flatten(1).T, T_K111.flatten())
        if pseudo_teacher:
            p_top_KVB1 = sum_p_KVB1.reciprocal()  # exp(0) of what is relative to the largest
            p_label_KVB1 = p_KVBC.gather(-1, label_VB1.expand(len(T_K111), *label_VB1.shape))
            margin_KVB1 = p_top_KVB1 - p_label_KVB1
            at_top_VB1 = pull_VB1 = (T_K111 * margin_KVB1).sum(0)
            at_label_VB1 = -pull_VB1
            pseudo = pseudo + (pull_VB1 * gap_VB1).sum()
            if not detach_pseudo_teacher:
                pseudo_grad_VBC -= p_KVBC.mul_(margin_KVB1 * gap_VB1).sum(0)
                at_top_VB1 = pull_VB1 + gap_VB1 * p_top_KVB1.sum(0)
                at_label_VB1 = -pull_VB1 - gap_VB1 * p_label_KVB1.sum(0)
            pseudo_grad_VBC.scatter_add_(-1, top_VB1, at_top_VB1).scatter_add_(-1, label_VB1, at_label_VB1)
    sums = (kd, kd_grad_VBC, pseudo, pseudo_grad_VBC)
    if distance is _exact_distance:
        return sums, math.inf
    # roundings of rows are independent, so a mean over many is known better than each of them
    rounding = torch.finfo(kd.dtype).eps * float(size) / label_VB1.numel() ** 0.5
    return sums, math.log10(float(kd) / rounding) if kd > 0 else -math.inf


def _plain_distance(
    p_KVBC: Tensor, q_KVBC: Tensor, ahead_VBC: Tensor, sum_p_KVB1: Tensor, sum_q_KVB1: Tensor, T_K111: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """KL(q ‖ p) of each row as Σ q (t − s) / T + log Σ exp(s/T) − log Σ exp(t/T), p − q, and the size of the numbers that cancel:
    a few passes, whose result has few digits where p and q are close."""
    mean_KVB, ratio_KVB1 = torch.linalg.vecdot(q_KVBC, ahead_VBC) / T_K111[..., 0], (sum_p_KVB1 / sum_q_KVB1).log()
    return mean_KVB + ratio_KVB1[..., 0], p_KVBC - q_KVBC, mean_KVB.abs() + 1.0 + ratio_KVB1[..., 0].abs()


def _exact_distance(
    p_KVBC: Tensor, q_KVBC: Tensor, ahead_VBC: Tensor, sum_p_KVB1: Tensor, sum_q_KVB1: Tensor, T_K111: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, with all its digits however close p and q are."""
    log_ratio_KVBC = (ahead_VBC / T_K111).add_((sum_p_KVB1 / sum_q_KVB1).log())
    terms_KVBC, change_KVBC = divergence_terms(p_KVBC, q_KVBC, log_ratio_KVBC)
    return terms_KVBC.sum(-1), change_KVBC, torch.zeros_like(terms_KVBC[..., 0])


def _softened(relative_VBC: Tensor, T_K111: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(z/T) and Σ exp(z/T), of logits relative to their row's largest."""
    powers_KVBC = (relative_VBC / T_K111).exp_()
    sum_KVB1 = powers_KVBC.sum(-1, keepdim=True)
    return powers_KVBC.div_(sum_KVB1), sum_KVB1
