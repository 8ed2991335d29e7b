from __future__ import annotations

import logits
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import DIST, Batch, dist_loss, standardized


def correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.sum() / len(a), b - b.sum() / len(b)
    return (a * b).sum() / ((a * a).sum() * (b * b).sum()) ** 0.5


@settings(max_examples=60, deadline=None)
@given(
    case=logits.cases(rows=3, classes=3, scale=5.0), temperature=st.floats(1.0, 8.0), beta=st.floats(0, 3), gamma=st.floats(0, 3)
)
def test_dist_and_its_gradient_equal_an_independent_computation_in_float64(
    case: logits.Case, temperature: float, beta: float, gamma: float
) -> None:
    student, teacher, _ = case

    def exact(s: Tensor, t: Tensor) -> Tensor:
        p, q = torch.softmax(s / temperature, 1), torch.softmax(t / temperature, 1)
        rows = sum(1 - correlation(p[b], q[b]) for b in range(len(p))) / len(p)
        columns = sum(1 - correlation(p[:, c], q[:, c]) for c in range(p.shape[1])) / p.shape[1]
        return temperature**2 * (beta * rows + gamma * columns)

    def ours(s: Tensor, t: Tensor) -> Tensor:
        return dist_loss(s, t, beta=beta, gamma=gamma, temperature=temperature)

    logits.assert_equal_in_float32(ours, exact, student, teacher)


def test_dist_by_numpys_correlations() -> None:
    student, teacher, _ = logits.make(0, 6, 5)
    p, q = torch.softmax(student / 4, 1).double().numpy(), torch.softmax(teacher / 4, 1).double().numpy()
    rows = np.mean([1 - np.corrcoef(p[b], q[b])[0, 1] for b in range(6)])
    columns = np.mean([1 - np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(5)])
    assert dist_loss(student, teacher, beta=1, gamma=0, temperature=4).item() == pytest.approx(16 * rows, rel=1e-5)
    assert dist_loss(student, teacher, beta=0, gamma=1, temperature=4).item() == pytest.approx(16 * columns, rel=1e-5)


def test_dist_is_zero_for_answers_that_relate_alike_and_not_otherwise() -> None:
    teacher = logits.make(1, 8, 6)[1].double()
    q = torch.softmax(teacher, 1)
    flatter = (0.3 * q + 0.7 / 6).log()  # every row and every column by the same scale and shift: all correlations stay 1
    assert dist_loss(flatter, teacher, beta=1, gamma=1, temperature=1).item() == pytest.approx(0, abs=1e-12)
    own_scale = torch.linspace(0.2, 0.9, 8, dtype=torch.float64)[:, None]
    of_each_row = (own_scale * q + (1 - own_scale) / 6).log()  # each row by its own: columns no longer relate as before
    assert dist_loss(of_each_row, teacher, beta=1, gamma=0, temperature=1).item() == pytest.approx(0, abs=1e-12)
    assert dist_loss(of_each_row, teacher, beta=0, gamma=1, temperature=1).item() > 1e-3
    against = (0.2 - 0.1 * q).log()
    assert dist_loss(against, teacher, beta=1, gamma=0, temperature=1).item() == pytest.approx(2)


def test_dist_keeps_its_digits_where_the_nets_nearly_agree() -> None:
    student, teacher, _ = logits.make(2, 8, 6)
    near = teacher + 1e-3 * student
    exact = dist_loss(near.double(), teacher.double(), beta=1, gamma=1, temperature=4.0)
    assert 0 < exact < 1e-5
    assert dist_loss(near, teacher, beta=1, gamma=1, temperature=4.0).item() == pytest.approx(exact.item(), rel=1e-2)
    assert dist_loss(teacher, teacher, beta=1, gamma=1, temperature=4.0).item() == 0.0


def test_a_row_or_column_without_any_difference_teaches_nothing_and_breaks_nothing() -> None:
    _, teacher, _ = logits.make(3, 4, 5)
    for student in (torch.zeros(4, 5), torch.full((4, 5), 7.3), torch.linspace(-3, 3, 5).repeat(4, 1)):
        student.requires_grad_()
        loss = dist_loss(student, teacher, beta=0, gamma=1, temperature=1.0)
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.item() == pytest.approx(0.5) and gradient.abs().max() == 0
    alone = torch.randn(1, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = dist_loss(alone, teacher[:1], beta=1, gamma=1, temperature=1.0)
    torch.testing.assert_close(loss, dist_loss(alone, teacher[:1], beta=1, gamma=0, temperature=1.0))
    assert torch.autograd.grad(loss, alone)[0].isfinite().all()


def test_dist_stays_finite_where_probabilities_are_too_small_for_float32() -> None:
    student, teacher, _ = logits.make(4, 6, 5, scale=300.0)
    loss = dist_loss(student.requires_grad_(), teacher, beta=1, gamma=1, temperature=1.0)
    assert loss.isfinite() and torch.autograd.grad(loss, student)[0].isfinite().all()


def test_classes_that_no_image_looks_like_correlate_as_others_do() -> None:
    rare = torch.tensor([[0.0, 9.0, -40.0], [9.0, 0.0, -41.0], [5.0, 5.0, -43.0]])
    p = torch.softmax(rare.double(), 1).numpy()
    other = rare.flip(0)
    q = torch.softmax(other.double(), 1).numpy()
    columns = np.mean([1 - np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(3)])
    assert dist_loss(rare, other, beta=0, gamma=1, temperature=1).item() == pytest.approx(columns, rel=1e-4)


def test_dists_options_reach_the_loss() -> None:
    student, teacher, labels = logits.make(5, 6, 5)
    batch = Batch(labels, {"weak": student}, {"weak": teacher}, 0.1)
    losses = DIST(temperature=2.0, beta=3.0, gamma=0.5, ce_weight=0.25, kd_weight=1.5).student_loss(batch)
    torch.testing.assert_close(losses["ce"], 0.25 * F.cross_entropy(student, labels))
    torch.testing.assert_close(losses["dist"], 1.5 * dist_loss(student, teacher, beta=3.0, gamma=0.5, temperature=2.0))
    of_shapes = DIST(standardize=True).student_loss(batch)
    torch.testing.assert_close(of_shapes["ce"], F.cross_entropy(student, labels))
    expected = 2 * dist_loss(standardized(student), standardized(teacher), beta=1, gamma=1, temperature=4.0)
    torch.testing.assert_close(of_shapes["dist"], expected)
