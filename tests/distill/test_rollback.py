"""When a teacher counts as damaged, and what is brought back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.distill.guard import GuardedStep
from edgekd.distill.rollback import Rollback


def watched(accuracies: list[float], images: int) -> tuple[Rollback, Any]:
    """A small network with BatchNorm that trains, and is seen to be this good; looked at once."""
    torch.manual_seed(0)
    teacher, seen = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), iter(accuracies)
    optimiser = GuardedStep(teacher.parameters(), momentum=0.9, weight_decay=0.0, gradient_norm=None)
    rollback = Rollback(teacher, optimiser, lambda network: next(seen), images)
    rollback.check()
    best = copy.deepcopy(teacher.state_dict())
    optimiser.set_rate(0.1)
    loss = teacher(torch.randn(8, 3)).square().mean() + teacher[0].weight.sum()
    loss.backward()
    optimiser.step(loss.detach(), 0)
    return rollback, best


@pytest.mark.parametrize(
    ("images", "worse", "damaged"),
    [
        (100, 0.03, False), (10_000, 0.03, True),  # one standard error: 3 points, 0.3
        (1_000_000, 0.009, False), (1_000_000, 0.011, True), (0, 0.009, False), (0, 0.011, True),  # below a point: never
    ],
)  # fmt: skip
def test_damage_is_more_than_a_point_and_more_than_two_standard_errors(images: int, worse: float, damaged: bool) -> None:
    rollback, _ = watched([0.9, 0.9 - worse], images)
    assert rollback.check()["rollback"] == damaged


def test_the_best_comes_back_with_no_momentum_and_at_half_the_rate() -> None:
    rollback, best = watched([0.9, 0.5], 10_000)
    assert rollback.optimiser.state_dict()["momentum"]
    seen = rollback.check()
    assert (seen["teacher_top1"], seen["best_top1"], seen["rate_factor"], rollback.rate_factor) == (0.5, 0.9, 0.5, 0.5)
    assert all(torch.equal(tensor, best[name]) for name, tensor in rollback.teacher.state_dict().items())
    assert rollback.optimiser.state_dict()["momentum"] == {}


def test_a_teacher_that_seems_better_but_holds_a_number_that_is_not_finite_is_damaged() -> None:
    rollback, best = watched([0.1, 0.2], 10_000)
    rollback.teacher[1].running_var[0] = torch.inf
    assert rollback.check()["rollback"]
    assert all(torch.equal(tensor, best[name]) for name, tensor in rollback.teacher.state_dict().items())
