from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import Channel, Label, channel_loss, fit
from edgekd.distill.channel import Regressor


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_channel_loss_by_hand() -> None:
    """One channel looks at two pixels as (3/4, 1/4), the other as (1/2, 1/2): KL = ln 2 − ln 3 / 2; times T² at T = 2."""
    student, teacher = 2 * torch.tensor([3.0, 1.0]).log().view(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    assert channel_loss(student, teacher, temperature=2.0).item() == pytest.approx(4 * (math.log(2) - math.log(3) / 2), abs=1e-6)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_channel_loss_and_gradient_equal_the_formula_in_float64(memory: torch.memory_format) -> None:
    student, teacher, temperature = 5 * noise(3, 4, 5, 2), 5 * noise(3, 4, 5, 2, seed=1), 3.0
    student = student.to(memory_format=memory).requires_grad_()
    exact = student.detach().double().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    for picture in range(3):
        for channel in range(4):
            q = torch.softmax(teacher[picture, channel].double().flatten() / temperature, 0)
            log_p = torch.log_softmax(exact[picture, channel].flatten() / temperature, 0)
            expected = expected + temperature**2 / (3 * 4) * (q * (q.log() - log_p)).sum()
    loss = channel_loss(student, teacher, temperature=temperature)
    (gradient,), (exact_gradient,) = torch.autograd.grad(loss, student), torch.autograd.grad(expected, exact)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (gradient - exact_gradient).norm() < 1e-4 * exact_gradient.norm()


@given(st.floats(0.5, 8), st.integers(0, 99))
def test_channel_loss_is_zero_exactly_where_maps_differ_by_a_constant_for_each_channel(temperature: float, seed: int) -> None:
    maps, shifts = noise(2, 3, 2, 2, seed=seed), noise(2, 3, 1, 1, seed=seed + 1)
    assert channel_loss(maps, maps + shifts, temperature=temperature).item() == pytest.approx(0.0, abs=1e-9)
    moved = maps.clone()
    moved[1, 2, 0, 0] += 0.1
    assert channel_loss(moved, maps, temperature=temperature).item() > 1e-8


@pytest.mark.parametrize("student", [(5, 4, 4), (5, 8, 8), (5, 2, 2), (3, 8, 2), (9, 5, 3)])
def test_a_regressor_gives_the_teachers_shape_whatever_the_students_is(student: tuple[int, int, int]) -> None:
    regressed = Regressor(student, (7, 4, 4))(noise(2, *student))
    assert regressed.shape == (2, 7, 4, 4)
    assert regressed.min() >= 0


def test_regressors_learn_with_the_student_and_are_not_in_it(batches, network, top1) -> None:
    teacher, student = network(seed=1, width=24), network(seed=0)
    fit(teacher, Label(), batches, evaluate=top1, epochs=4, learning_rate=0.1)
    method = Channel(temperature=1.0)
    shapes = {name: tensor.shape for name, tensor in student.state_dict().items()}
    result = fit(student, method, batches, evaluate=top1, epochs=6, learning_rate=0.05, teacher=teacher)
    assert {name: tensor.shape for name, tensor in result.best_state.items()} == shapes
    losses = [epoch["losses"]["channel"] for epoch in result.curves["epochs"]]
    assert losses[-1] < 0.8 * losses[0]
    assert [(tap.teacher, tap.student) for tap in method.pairs()] == [("5", "5")]
    assert result.best_top1 > 0.8


def test_making_regressors_moves_nobodys_random_numbers(batches, network, top1) -> None:
    """Dropout draws from the same stream: with a weight that does nothing, the student's bits are those of a method without."""
    students = []
    for weight in (0.0, 1e-30):
        students.append(network())
        fit(students[-1], Channel(channel_weight=weight), copy.deepcopy(batches), evaluate=top1, epochs=2, learning_rate=0.05,
            teacher=network(seed=1, width=24), gradient_norm=None)  # fmt: skip
    for one, other in zip(*(student.state_dict().values() for student in students), strict=True):
        assert torch.equal(one, other)
