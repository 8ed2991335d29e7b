"""The plan takes enough queries and rounds for the gates at hand, and core's own rules agree that it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import Gate, Verdict, judge, percentile_over_rounds
from edgekd.targets import plan_for


def gate(metric, confidence=None):
    return Gate("benchmark", "cpu", metric, "max", 5.0, confidence)


@pytest.mark.parametrize(
    ("gates", "rounds", "queries"),
    [
        ([], 6, 100), ([gate("latency_ms.p50")], 6, 100), ([gate("latency_ms.p90")], 6, 100),
        ([gate("top1_drop", 0.999)], 6, 100),
        ([gate("latency_ms.p99")], 6, 111), ([gate("latency_ms_fp32.p99")], 6, 111), ([gate("speedup", 0.99)], 7, 100),
        ([gate("latency_ms.p99", 0.999), gate("latency_ms.p50")], 10, 100), ([gate("latency_ms.p50", 0.95)], 6, 100),
    ],
)  # fmt: skip
def test_rounds_and_queries_by_hand(gates, rounds, queries):
    plan = plan_for(gates)
    assert (plan.rounds, plan.queries) == (rounds, queries)


@given(st.sampled_from(["p50", "p90", "p99"]), st.none() | st.floats(0.5, 0.9999))
def test_a_planned_measurement_can_pass_its_gate(percentile, confidence):
    wanted = gate(f"latency_ms.{percentile}", confidence)
    plan = plan_for([wanted])
    measured = percentile_over_rounds(wanted.metric, [[1.0] * plan.queries] * plan.rounds, int(percentile[1:]) / 100)
    assert judge(wanted, measured).verdict is Verdict.PASS


def test_a_bound_against_fp16_is_timed_as_long_as_one_against_fp32():
    gates = [Gate(stage="benchmark", target="jetson", metric=name, bound="min", limit=1.0, confidence=0.999) for name in
             ("speedup", "speedup_fp16")]  # fmt: skip
    assert plan_for(gates[:1]) == plan_for(gates[1:]) and plan_for(gates[1:]).rounds == 10
