from __future__ import annotations

import logits
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import DKD, Batch, dkd_loss, kd_loss, standardized


def parts(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """TCKD, NCKD and 1 − q_y of each row, one row at a time from the definition."""
    tckd, nckd, doubt = [], [], []
    for s, t, label in zip(student, teacher, labels.tolist(), strict=True):
        p, q = torch.softmax(s / temperature, 0), torch.softmax(t / temperature, 0)
        others = [k for k in range(len(s)) if k != label]
        p_rest, q_rest = p[others].sum(), q[others].sum()
        tckd.append(temperature**2 * logits.kl(torch.stack([q[label], q_rest]), torch.stack([p[label], p_rest])))
        nckd.append(temperature**2 * logits.kl(q[others] / q_rest, p[others] / p_rest))
        doubt.append(q_rest)
    return torch.stack(tckd), torch.stack(nckd), torch.stack(doubt)


@settings(max_examples=60, deadline=None)
@given(case=logits.cases(), temperature=st.floats(0.5, 12.0), alpha=st.floats(0.0, 3.0), beta=st.floats(0.1, 9.0))
def test_dkd_and_its_gradient_equal_an_independent_computation_in_float64(
    case: logits.Case, temperature: float, alpha: float, beta: float
) -> None:
    student, teacher, labels = case

    def exact(s: Tensor, t: Tensor) -> Tensor:
        tckd, nckd, _ = parts(s, t, labels, temperature)
        return (alpha * tckd + beta * nckd).mean()

    def ours(s: Tensor, t: Tensor) -> Tensor:
        return dkd_loss(s, t, labels, alpha=alpha, beta=beta, temperature=temperature)

    logits.assert_equal_in_float32(ours, exact, student, teacher)


@settings(max_examples=25, deadline=None)
@given(case=logits.cases(), temperature=st.floats(0.5, 12.0))
def test_distillation_is_tckd_and_the_teachers_doubt_times_nckd_in_every_row(case: logits.Case, temperature: float) -> None:
    student, teacher, labels = (tensor.double() if tensor.is_floating_point() else tensor for tensor in case)
    _, _, doubt = parts(student, teacher, labels, temperature)
    for row in range(len(labels)):
        one = slice(row, row + 1)
        whole = kd_loss(student[one], teacher[one], temperature=temperature)
        decoupled = dkd_loss(student[one], teacher[one], labels[one], alpha=1.0, beta=doubt[row].item(), temperature=temperature)
        torch.testing.assert_close(whole, decoupled, rtol=1e-9, atol=1e-12)


def test_a_teacher_that_is_certain_in_float32_still_ranks_the_other_classes() -> None:
    teacher = torch.tensor([[60.0, 3.0, 1.0, 0.0]])  # the label's probability rounds to 1
    student = torch.tensor([[50.0, 0.0, 1.0, 3.0]], requires_grad=True)
    labels = torch.tensor([0])
    ranked = dkd_loss(student, teacher, labels, alpha=0.0, beta=1.0, temperature=1.0)
    torch.testing.assert_close(ranked, kd_loss(student[:, 1:], teacher[:, 1:], temperature=1.0))
    assert torch.autograd.grad(ranked, student)[0].norm() > 0.5
    sure = dkd_loss(student, teacher, labels, alpha=1.0, beta=0.0, temperature=1.0)
    assert 0 < sure.item() < 1e-18  # of the order e^-47, and not 0 or NaN
    assert torch.autograd.grad(sure, student)[0].isfinite().all()


@pytest.mark.parametrize("certain", [150.0, -150.0, 1e4])
def test_dkd_stays_finite_where_a_probability_is_exactly_0_or_1(certain: float) -> None:
    teacher, student = torch.zeros(2, 3), torch.zeros(2, 3)
    teacher[0, 0], student[1, 0] = certain, certain
    student.requires_grad_()
    loss = dkd_loss(student, teacher, torch.tensor([0, 0]), alpha=1.0, beta=8.0, temperature=1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite() and gradient.isfinite().all()


def test_of_two_classes_only_the_label_is_left_to_match() -> None:
    student, teacher, labels = logits.make(3, 6, 2)
    only_rest = dkd_loss(student, teacher, labels, alpha=0.0, beta=8.0, temperature=4.0)
    assert only_rest.item() == 0.0
    whole = dkd_loss(student, teacher, labels, alpha=1.0, beta=8.0, temperature=4.0)
    torch.testing.assert_close(whole, kd_loss(student, teacher, temperature=4.0))


def test_the_terms_weight_grows_over_the_first_twenty_of_240_epochs() -> None:
    student, teacher, labels = logits.make(4, 6, 5)
    full = dkd_loss(student, teacher, labels, alpha=1.0, beta=8.0, temperature=4.0)

    def share(epoch: int, method: DKD = DKD()) -> float:  # noqa: B008  frozen
        losses = method.student_loss(Batch(labels, {"weak": student}, {"weak": teacher}, epoch / 240))
        torch.testing.assert_close(losses["ce"], F.cross_entropy(student, labels))
        return (losses["dkd"] / full).item()

    assert [share(epoch) for epoch in (1, 10, 20, 21, 240)] == pytest.approx([1 / 20, 1 / 2, 1, 1, 1], rel=1e-6)
    assert share(1, DKD(ramp=0.0)) == pytest.approx(1.0)


def test_dkds_options_reach_the_loss() -> None:
    student, teacher, labels = logits.make(5, 6, 5)
    batch = Batch(labels, {"weak": student}, {"weak": teacher}, 1.0)
    losses = DKD(temperature=2.0, alpha=3.0, beta=0.5, ce_weight=0.25, standardize=True).student_loss(batch)
    torch.testing.assert_close(losses["ce"], 0.25 * F.cross_entropy(student, labels))
    of_shapes = (standardized(student), standardized(teacher), labels)
    torch.testing.assert_close(losses["dkd"], dkd_loss(*of_shapes, alpha=3.0, beta=0.5, temperature=2.0))
