from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.distill.schedule import learning_rate_factor


def test_the_rate_rises_to_its_peak_and_falls_along_a_cosine() -> None:
    factors = [learning_rate_factor(step, 104, warmup=4 / 104) for step in range(104)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[54] == pytest.approx(0.5)  # half of the 100 steps that fall
    assert factors[-1] == pytest.approx(0.000247, abs=1e-6)
    assert learning_rate_factor(104, 104, warmup=4 / 104) == pytest.approx(0.0)


def test_with_milestones_the_rate_changes_exactly_after_the_epochs_they_stand_for() -> None:
    batches, epochs = 782, 240  # of CIFAR-100 by 64, rounded up
    steps = batches * epochs
    factors = [learning_rate_factor(step, steps, 0.0, (0.625, 0.75, 0.875)) for step in range(steps)]
    changes = [step for step in range(1, steps) if factors[step] != factors[step - 1]]
    assert changes == [150 * batches, 180 * batches, 210 * batches]
    assert [factors[step] for step in (0, *changes)] == pytest.approx([1, 0.1, 0.01, 0.001])


def test_the_warm_up_comes_before_the_milestones() -> None:
    factors = [learning_rate_factor(step, 100, 0.05, (0.5,)) for step in range(100)]
    assert factors[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert factors[49:51] == pytest.approx([1, 0.1])


@given(steps=st.integers(1, 400), warmup=st.floats(0, 1))
def test_the_rate_is_a_share_at_every_step_whatever_the_warm_up(steps: int, warmup: float) -> None:
    factors = [learning_rate_factor(step, steps, warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1.0)
