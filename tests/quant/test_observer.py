import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.quant.observer import BINS, Observer

G = torch.Generator


def _error(x: np.ndarray, end: float, low: float, steps: int) -> float:
    step = (end - low) / steps
    floor = np.rint(low / step)
    return float(((x - np.clip(np.rint(x / step), floor if low < 0 else -steps, np.rint(end / step)) * step) ** 2).mean())


def _normal(seed: int, n: int = 200_000) -> torch.Tensor:
    return torch.randn(n, generator=G().manual_seed(seed))


DISTRIBUTIONS = {
    "normal": lambda: _normal(0),
    "half normal behind ReLU": lambda: _normal(1).relu(),
    "Laplace": lambda: _normal(2) * _normal(3).abs(),
    "heavy tails": lambda: _normal(4) / _normal(5).abs().clamp_min(0.05),
    "outliers": lambda: torch.cat([_normal(6), 30 * _normal(7, 40)]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("bits", [8, 4])
def test_clipping_is_as_good_as_trying_every_clipping_point_on_the_values(name, bits):
    x = DISTRIBUTIONS[name]()
    observer = Observer()
    for part in x.split(7001):
        observer.watch(part)
    steps = 2**bits - 1 if float(x.min()) >= 0 else 2 ** (bits - 1) - 1
    values = x.double().numpy()
    found = _error(values, observer.clipping(steps_per_range=steps), 0.0, steps)
    best = min(_error(values, end, 0.0, steps) for end in np.geomspace(1 / 100, 1.0, 200) * np.abs(values).max())
    assert found <= 1.02 * best


def test_a_short_negative_tail_keeps_its_own_end():
    x = torch.nn.functional.hardswish(2 * _normal(8))
    observer = Observer()
    observer.watch(x)
    end = observer.clipping(steps_per_range=255, low=observer.low)
    values = x.double().numpy()
    best = min(_error(values, e, observer.low, 255) for e in np.linspace(0.3, 1.0, 200) * values.max())
    assert _error(values, end, observer.low, 255) <= 1.02 * best


@settings(max_examples=40, deadline=None)
@given(factors=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_no_value_is_lost_however_the_range_grows(factors, seed):
    observer = Observer()
    parts = [factor * _normal(seed + n, 500) for n, factor in enumerate(factors)]
    for part in parts:
        observer.watch(part)
    joined = torch.cat(parts)
    assert observer.counts.sum() == int((joined != 0).sum())
    assert (observer.low, observer.high) == (float(joined.min()), float(joined.max()))
    width = observer.top / BINS
    at_once = np.histogram(joined.abs().double().numpy(), BINS, (0, observer.top))[0]
    assert np.abs(np.cumsum(at_once) - np.cumsum(observer.counts)).max() <= 3  # but for values on an edge
    assert width > 0


def test_exact_zeros_do_not_pull_the_clipping():
    x = _normal(9, 50_000).abs()
    alone, with_zeros = Observer(), Observer()
    alone.watch(x)
    with_zeros.watch(torch.cat([x, torch.zeros(10 * len(x))]))
    assert alone.clipping(steps_per_range=255) == pytest.approx(with_zeros.clipping(steps_per_range=255), rel=1e-6)


def test_a_known_limit_is_not_passed():
    observer = Observer()
    observer.watch(torch.linspace(0, 6, 10_000))
    assert observer.clipping(steps_per_range=255, limit=6.0) <= 6.0


def test_a_tensor_of_zeros_has_range_zero():
    observer = Observer()
    observer.watch(torch.zeros(10))
    assert observer.clipping(steps_per_range=255) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_spoil_the_range_for_good(bad):
    observer = Observer()
    observer.watch(torch.tensor([1.0, bad]))
    observer.watch(torch.ones(4))
    assert not np.isfinite([observer.low, observer.high]).all()
