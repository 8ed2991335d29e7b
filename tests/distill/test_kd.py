from __future__ import annotations

import logits
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import KD, Batch, Consensus, kd_loss, standardized


def test_kd_by_hand() -> None:  # p = (3/4, 1/4), q = (1/2, 1/2) at T = 2: KL = ln 2 − ln 3 / 2, times T²
    student, teacher = 2 * torch.tensor([[3.0, 1.0]]).log(), torch.zeros(1, 2)
    assert kd_loss(student, teacher, temperature=2.0).item() == pytest.approx(4 * 0.143841, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(case=logits.cases(), temperature=st.floats(0.5, 12.0))
def test_kd_and_its_gradient_equal_an_independent_computation_in_float64(case: logits.Case, temperature: float) -> None:
    def exact(student: Tensor, teacher: Tensor) -> Tensor:
        p, q = torch.softmax(student / temperature, 1), torch.softmax(teacher / temperature, 1)
        return temperature**2 * logits.kl(q, p).sum() / len(p)

    student, teacher, _ = case
    logits.assert_equal_in_float32(lambda s, t: kd_loss(s, t, temperature=temperature), exact, student, teacher)


def test_only_the_student_learns() -> None:
    student, teacher, _ = logits.make(0, 5, 7)
    kd_loss(student.requires_grad_(), teacher.requires_grad_(), temperature=3.0).backward()
    assert teacher.grad is None and student.grad is not None


def test_kds_gradient_is_t_times_the_difference_of_probabilities() -> None:
    student, teacher, _ = logits.make(0, 5, 7)
    (gradient,) = torch.autograd.grad(kd_loss(student.requires_grad_(), teacher, temperature=3.0), student)
    torch.testing.assert_close(gradient, 3 * (torch.softmax(student / 3, 1) - torch.softmax(teacher / 3, 1)) / 5)


def test_kd_is_never_negative_and_zero_for_equal_answers_however_large_the_logits() -> None:
    student, teacher, _ = logits.make(1, 64, 10, scale=300.0)
    assert kd_loss(teacher + 5.0, teacher, temperature=1.0).item() < 1e-6
    assert kd_loss(teacher, teacher, temperature=1.0).item() == 0.0
    loss = kd_loss(student.requires_grad_(), teacher, temperature=1.0)
    assert loss.isfinite() and torch.autograd.grad(loss, student)[0].isfinite().all()
    nearly = teacher * (1 + 1e-6)
    assert kd_loss(nearly, teacher, temperature=1.0).item() >= 0.0


def test_kd_weighs_cross_entropy_and_distance_as_the_recipe_says_and_cross_entropy_never_sees_standardised_logits() -> None:
    student, teacher, labels = logits.make(2, 4, 5)
    batch = Batch(labels, {"weak": student}, {"weak": teacher}, 0.5)
    losses = KD(temperature=3.0, ce_weight=0.4, kd_weight=0.6).student_loss(batch)
    torch.testing.assert_close(losses["ce"], 0.4 * F.cross_entropy(student, labels))
    torch.testing.assert_close(losses["kd"], 0.6 * kd_loss(student, teacher, temperature=3.0))
    of_shapes = KD(temperature=3.0, ce_weight=0.4, kd_weight=0.6, standardize=True).student_loss(batch)
    assert torch.equal(of_shapes["ce"], losses["ce"])
    expected = kd_loss(standardized(student), standardized(teacher), temperature=3.0)
    torch.testing.assert_close(of_shapes["kd"], 0.6 * expected)


def test_the_kl_to_a_consensus_has_the_gradient_of_the_mean_of_the_kls() -> None:
    torch.manual_seed(0)
    images, temperature = torch.randn(6, 5), 2.0
    networks = [torch.nn.Linear(5, 4) for _ in range(2)]
    student = torch.randn(6, 4, requires_grad=True)
    with torch.no_grad():
        together, each = Consensus(networks, temperature)(images), [network(images) for network in networks]
    probabilities = torch.softmax(together / temperature, 1)
    torch.testing.assert_close(probabilities, sum(torch.softmax(one / temperature, 1) for one in each) / 2)
    (of_one,) = torch.autograd.grad(kd_loss(student, together, temperature=temperature), student)
    (of_mean,) = torch.autograd.grad(sum(kd_loss(student, one, temperature=temperature) for one in each) / 2, student)
    torch.testing.assert_close(of_one, of_mean)
