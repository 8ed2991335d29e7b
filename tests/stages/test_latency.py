"""Uneven times make a typical latency inconclusive; they never excuse a tail, which is measured to show them."""

import pytest

from edgekd.stages.latency import latencies, speedup
from edgekd.targets import UNEVEN

ROUNDS = [[1.0] * 95 + [3.0] * 5] * 7


@pytest.mark.parametrize(("name", "reasons"), [("p50", 2), ("p90", 1), ("p99", 1)])
def test_a_long_tail_never_excuses_a_tail(name, reasons):
    suspect = ("tj-thermal reached 96 °C", UNEVEN + "int8 has a p99 of 3.00 times its p50")
    measured = {one.name: one for one in latencies("latency_ms", ROUNDS, suspect, {})}
    assert measured[f"latency_ms.{name}"].suspect == suspect[:reasons]


def test_a_disturbance_that_begins_within_a_round_does_not_move_the_ratio():
    rounds = {"fast": [[1.0] * 20 + [3.0] * 30] * 6, "slow": [[2.0] * 20 + [6.0] * 30] * 6}
    rounds["slow"][0] = rounds["slow"][0][:20] + [2.0] * 10 + rounds["slow"][0][30:]  # it begins between two blocks
    found = speedup("speedup", {"rounds": rounds, "turns": [5] * 6}, "slow", "fast", (), {})
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0) and found.n == 300


def test_one_block_a_round_may_be_of_other_lengths():
    timed = {"rounds": {"fast": [[1.0] * 11] * 6, "slow": [[3.0] * 7] * 6}, "turns": [1] * 6}
    assert speedup("speedup", timed, "slow", "fast", (), {}).value == 3.0
