from __future__ import annotations

import logits
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import KD, LSKD, Batch, lskd_loss, standardized


@settings(max_examples=50, deadline=None)
@given(case=logits.cases(classes=3), temperature=st.floats(0.5, 6.0))
def test_lskd_and_its_gradient_equal_an_independent_computation_in_float64(case: logits.Case, temperature: float) -> None:
    def shape(row: Tensor) -> Tensor:
        mean = row.sum() / len(row)
        return (row - mean) / (1e-7 + (((row - mean) ** 2).sum() / (len(row) - 1)) ** 0.5)

    def exact(student: Tensor, teacher: Tensor) -> Tensor:
        p, q = (torch.stack([torch.softmax(shape(row) / temperature, 0) for row in each]) for each in (student, teacher))
        return temperature**2 * logits.kl(q, p).mean()

    student, teacher, _ = case
    logits.assert_equal_in_float32(lambda s, t: lskd_loss(s, t, temperature=temperature), exact, student, teacher)


@settings(max_examples=25, deadline=None)
@given(case=logits.cases(classes=3), seed=st.integers(0, 2**31))
def test_lskd_does_not_change_with_the_mean_and_scale_of_any_row_of_either_net(case: logits.Case, seed: int) -> None:
    student, teacher = case[0].double(), case[1].double()
    draw = torch.Generator().manual_seed(seed)
    scale, shift = (torch.rand(2, len(student), 1, generator=draw, dtype=torch.float64) for _ in range(2))
    moved = lskd_loss((0.1 + scale[0]) * student + shift[0], (0.1 + 5 * scale[1]) * teacher - 9 * shift[1], temperature=2.0)
    torch.testing.assert_close(moved, lskd_loss(student, teacher, temperature=2.0), rtol=1e-4, atol=1e-7)  # but for the 1e-7


def test_a_row_without_any_difference_is_finite_and_of_two_classes_only_their_order_is_left() -> None:
    flat = torch.full((2, 4), 3.0, requires_grad=True)
    loss = lskd_loss(flat, torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), temperature=2.0)
    assert loss.isfinite() and torch.autograd.grad(loss, flat)[0].isfinite().all()
    half = 0.5**0.5
    torch.testing.assert_close(
        standardized(torch.tensor([[1.0, 5.0], [2.0, -7.0]])), torch.tensor([[-half, half], [half, -half]])
    )


def test_lskd_is_distillation_with_standardised_logits_and_settings_of_its_own() -> None:
    student, teacher, labels = logits.make(1, 5, 6)
    batch = Batch(labels, {"weak": student}, {"weak": teacher}, 0.5)
    losses, same = LSKD().student_loss(batch), KD(2.0, 0.1, 9.0, standardize=True).student_loss(batch)
    assert {name: value.item() for name, value in losses.items()} == {name: value.item() for name, value in same.items()}
    torch.testing.assert_close(losses["ce"], 0.1 * F.cross_entropy(student, labels))
    torch.testing.assert_close(losses["kd"], 9 * lskd_loss(student, teacher, temperature=2.0))
