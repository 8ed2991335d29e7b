"""Logits of two nets to try losses on, and the comparison of a float32 loss with an independent one in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
Case = tuple[Tensor, Tensor, Tensor]  # student [B, C], teacher [B, C], both float32; labels [B]


def make(seed: int, rows: int, classes: int, scale: float = 3.0, sure: bool = False) -> Case:
    """sure: both nets give the label a probability very near 1 in every other row."""
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (scale * torch.randn(rows, classes, generator=draw) for _ in range(2))
    labels = torch.randint(0, classes, (rows,), generator=draw)
    if sure:
        for logits in (student, teacher):
            logits[::2] = logits[::2].clamp(-5, 5).scatter(1, labels[::2, None], 14.0)
    return student, teacher, labels


def cases(rows: int = 1, classes: int = 2, scale: float = 8.0) -> st.SearchStrategy[Case]:
    """At least so many rows and classes; logits up to about three times ``scale``."""
    return st.builds(
        make, st.integers(0, 2**31), st.integers(rows, rows + 8), st.integers(classes, 40), st.floats(0.3, scale), st.booleans()
    )


def assert_equal_in_float32(loss: Loss, exact: Loss, student: Tensor, teacher: Tensor) -> None:
    """``loss`` in float32 is within 1e-5 and its gradient within 1e-4 of ``exact`` in float64.

    Where two nets nearly agree the difference of their logits has fewer digits than that: there it may be off by as much as a few
    float32 steps in the logits change the exact value.
    """
    (value, gradient), (expected, expected_gradient) = (
        with_gradient(loss, student, teacher), with_gradient(exact, student.double(), teacher.double())
    )  # fmt: skip
    assert value.dtype == torch.float32
    steps = 4 * torch.finfo(torch.float32).eps * torch.randn(2, *student.shape, generator=torch.Generator().manual_seed(0))
    nudged, nudged_gradient = with_gradient(exact, student.double() * (1 + steps[0]), teacher.double() * (1 + steps[1]))
    assert abs(value - expected) <= 1e-5 * expected.abs() + 4 * abs(nudged - expected)
    off = (gradient - expected_gradient).norm()
    assert off <= 1e-4 * expected_gradient.norm() + 4 * (nudged_gradient - expected_gradient).norm()
    in_double, gradient_in_double = with_gradient(loss, student.double(), teacher.double())
    torch.testing.assert_close(in_double, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient_in_double, expected_gradient, rtol=1e-7, atol=1e-11)


def with_gradient(loss: Loss, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    value = loss(student, teacher)
    (gradient,) = torch.autograd.grad(value, student)
    return value.detach(), gradient


def kl(q: Tensor, p: Tensor) -> Tensor:
    """Σ q log(q/p) over the last axis, as it is written."""
    return (q * torch.log(q / p)).sum(-1)
