from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.distill.guard import GuardedStep


def guarded(weights: list[nn.Parameter], **options: float | None) -> GuardedStep:
    made = GuardedStep(weights, **{"momentum": 0.0, "weight_decay": 0.0, "gradient_norm": None, **options})
    made.set_rate(1.0)
    return made


def step(optimiser: GuardedStep, loss: torch.Tensor, at: int = 0) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step(loss.detach(), at)


def test_weight_decay_reaches_every_weight_that_trains_and_no_frozen_one() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    step(guarded(list(network.parameters()), weight_decay=0.25), sum(0 * one.sum() for one in network.parameters()))
    for name, weight in network.named_parameters():
        factor = 1.0 if name.startswith("0.") else 0.75
        torch.testing.assert_close(weight.detach(), factor * before[name])


@pytest.mark.parametrize(("norm", "length"), [(None, 40.0), (2.0, 2.0), (50.0, 40.0)])
def test_gradients_longer_than_the_norm_are_scaled_down_to_it(norm: float | None, length: float) -> None:
    weight = nn.Parameter(torch.zeros(4))
    step(guarded([weight], gradient_norm=norm), 20 * weight.sum())
    assert weight.norm().item() == pytest.approx(length)


def test_after_a_step_that_is_not_finite_none_is_taken_until_all_is_forgotten() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = guarded([weight], momentum=0.5)
    step(optimiser, weight.sum() * float("inf"), at=7)
    step(optimiser, weight.sum(), at=8)
    assert weight.tolist() == [1.0, 1.0]
    assert optimiser.broke_at() == (7, float("inf"), float("inf"))
    optimiser.forget()
    assert optimiser.broke_at() is None
    step(optimiser, weight.sum(), at=9)
    assert weight.tolist() == [0.0, 0.0]


def test_momentum_is_kept_put_back_and_forgotten() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimiser = guarded([weight], momentum=0.5)
    step(optimiser, weight.sum())
    kept = optimiser.state_dict()
    assert kept["momentum"]["0"].tolist() == [1.0, 1.0]
    other = guarded([weight], momentum=0.5)
    other.load_state_dict(kept)
    step(other, 0 * weight.sum())
    assert weight.tolist() == [-1.5, -1.5]
    other.forget()
    step(other, 0 * weight.sum())
    assert weight.tolist() == [-1.5, -1.5]
