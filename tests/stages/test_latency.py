"""Uneven times make a typical latency inconclusive; they never excuse a tail, which is measured to show them."""

import pytest

from edgekd.stages.latency import latencies
from edgekd.targets import UNEVEN

ROUNDS = [[1.0] * 95 + [3.0] * 5] * 7


@pytest.mark.parametrize(("name", "reasons"), [("p50", 2), ("p90", 1), ("p99", 1)])
def test_a_long_tail_never_excuses_a_tail(name, reasons):
    suspect = ("tj-thermal reached 96 °C", UNEVEN + "int8 has a p99 of 3.00 times its p50")
    measured = {one.name: one for one in latencies("latency_ms", ROUNDS, suspect, {})}
    assert measured[f"latency_ms.{name}"].suspect == suspect[:reasons]
