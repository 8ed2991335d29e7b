import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.report.phrases import age, decimals, duration, interval, limit_text, megabytes, number

VALUES = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(VALUES, VALUES, st.sampled_from(["fraction", "ms", "dB", "ratio", "count"]))
def test_rounding_never_turns_a_miss_into_a_hit(value, limit, unit):
    shown = round(value, decimals(unit, [value], limit))
    if abs(value - limit) > 1e-9:  # closer than any measurement
        assert (shown > limit, shown < limit) == (value > limit, value < limit)


@pytest.mark.parametrize(
    ("unit", "value", "limit", "text"),
    [
        ("fraction", 0.9833333, None, "0.983"),
        ("fraction", 0.0204, 0.02, "0.0204"),  # 0.020 ≤ 0.02 would look like a pass
        ("fraction", 0.02, 0.02, "0.020"),
        ("ms", 1.2345, None, "1.23"),
        ("ms", 123.45, None, "123"),
        ("ms", 0.12345, None, "0.123"),
        ("dB", 41.27, None, "41.3"),
        ("count", 11173962, None, "11,173,962"),
        ("1", 0.0000123, None, "0.000012"),
        ("1", 1.2e-9, None, "1.2e-09"),
    ],
)
def test_numbers_by_hand(unit, value, limit, text):
    assert number(value, decimals(unit, [value], limit)) == text


def test_a_value_that_was_not_measured_is_a_dash_and_has_no_interval():
    assert (number(None, 3), interval(None, 0.5, 3), duration(None)) == ("—", "", "—")


def test_bounds_ages_and_sizes_by_hand():
    assert (limit_text("min", 0.95), limit_text("max", 2.0)) == ("≥ 0.95", "≤ 2")
    assert [age(seconds) for seconds in (5, 720, 10_800, 300_000)] == ["0 min", "12 min", "3 h", "3 days"]
    assert [megabytes(size) for size in (0, 512, 251_000, 11_234_567)] == ["0.0 kB", "0.5 kB", "0.251 MB", "11.2 MB"]
