import math

from hypothesis import given
from hypothesis import strategies as st

from edgekd.report.svg import linear, log_ticks, logarithmic, nice_ticks

FINITE = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-4, 1e5)


@given(FINITE, FINITE)
def test_nice_ticks_enclose_the_range_and_are_few(a, b):
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    span = max(high - low, abs(low) * 0.1, 1e-9)
    assert ticks[0] <= low + 1e-6 * span and ticks[-1] >= high - 1e-6 * span
    assert 2 <= len(ticks) <= 12 and ticks == sorted(set(ticks))


@given(POSITIVE, st.floats(1.03, 1e4))
def test_log_ticks_lie_inside_the_range_and_are_few(low, ratio):
    ticks = log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 9 and ticks == sorted(set(ticks))
    assert low <= ticks[0] and ticks[-1] <= low * ratio


def test_scales_by_hand():
    assert [linear(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert linear(3, 3, 0, 10)(3) == 5
    assert math.isclose(logarithmic(1, 100, 0, 10)(10), 5)
    assert logarithmic(1, 100, 0, 10)(0) == 0
