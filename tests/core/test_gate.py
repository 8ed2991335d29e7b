"""Verdicts. Above all: what is missing, not a number, infinite, suspect or taken over nothing never passes."""

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgekd.core import Gate, Measurement, Verdict, judge, over_rounds, paired_drop, percentile_over_rounds, share, worst
from edgekd.core.statistics import bonett_price_interval, wilson_interval

bounds = st.sampled_from(["min", "max"])
limits = st.floats(allow_nan=False, allow_infinity=False)
confidences = st.none() | st.floats(0.5, 0.9999)
gates = st.builds(Gate, st.just("distill"), st.none(), st.just("top1"), bounds, limits, confidences, st.none() | st.just("known"))


def gate(bound: str = "min", limit: float = 0.9, confidence: float | None = None, waive: str | None = None) -> Gate:
    return Gate("distill", None, "top1", bound, limit, confidence, waive)


@given(gates, st.sampled_from([math.nan, math.inf, -math.inf, None]), st.integers(-1, 5), st.floats(), st.floats())
def test_no_number_never_passes(one, value, n, low, high):
    assert judge(one, Measurement("top1", value, "fraction", n, low, high, counts=(1,))).verdict is not Verdict.PASS


@given(gates, st.floats(), st.integers(-3, 0))
def test_a_number_over_nothing_never_passes(one, value, n):
    assert judge(one, Measurement("top1", value, "fraction", n)).verdict is not Verdict.PASS


@given(gates)
def test_a_missing_measurement_is_not_measured_even_when_waived(one):
    assert judge(one, None).verdict is Verdict.NOT_MEASURED


@given(gates, st.floats(0, 1), st.integers(1, 9))
def test_suspect_conditions_and_too_few_queries_never_pass(one, value, n):
    for odd in (Measurement("top1", value, "ms", n, suspect=("clocks moved",)), Measurement("top1", value, "ms", n, n_needed=99)):
        assert judge(one, odd).verdict in (Verdict.INCONCLUSIVE, Verdict.WAIVED)


@given(gates, st.builds(Measurement, st.just("top1"), st.none() | st.floats(), st.just("1"), st.integers(-2, 50),
       st.none() | st.floats(), st.none() | st.floats(), st.just(()) | st.tuples(st.integers(0, 50)),
       st.lists(st.floats(), max_size=8).map(tuple)))  # fmt: skip
def test_whatever_was_measured_a_pass_means_a_finite_number_over_something_that_holds(one, measured):
    assume(not measured.counts or measured.counts[0] <= measured.n)
    if judge(one, measured).verdict is Verdict.PASS:
        assert measured.n > 0
        assert math.isfinite(measured.value)
        assert one.confidence is not None or one.holds(measured.value)


@given(gates, st.floats(), st.integers(0, 5))
def test_a_measurement_through_json_is_never_judged_better(one, value, n):
    measured = Measurement("top1", value, "fraction", n)
    again = judge(one, Measurement.from_json(measured.as_json()))
    first = judge(one, measured)
    assert again.verdict is first.verdict or not math.isfinite(value)
    assert math.isfinite(value) or again.verdict is not Verdict.PASS


@given(gates, st.integers(0, 7), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_one_round_without_a_number_spoils_all(one, at, odd):
    rounds = tuple(odd if r == at else 1.0 for r in range(8))
    assert judge(one, Measurement("top1", 1.0, "ms", 900, 1.0, 1.0, rounds=rounds)).verdict not in (Verdict.PASS, Verdict.FAIL)


def test_without_confidence_the_value_itself_is_judged_on_one_side():
    measured = share("top1", [True] * 9 + [False])
    assert judge(gate("min", 0.9), measured).verdict is Verdict.PASS
    assert judge(gate("min", 0.91), measured).verdict is Verdict.FAIL
    assert judge(gate("max", 0.9), measured).verdict is Verdict.PASS
    assert judge(gate("max", 0.89), measured).verdict is Verdict.FAIL


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    bounds,
    st.floats(0.01, 0.99),
    st.floats(0.55, 0.999),
)
def test_with_confidence_a_share_passes_or_fails_only_outside_its_one_sided_interval(hits_n, bound, limit, confidence):
    hits, n = hits_n
    verdict = judge(gate(bound, limit, confidence), share("top1", [True] * hits + [False] * (n - hits))).verdict
    low, high = wilson_interval(hits, n, NormalDist().inv_cdf(confidence))
    better, worse = (low >= limit, high < limit) if bound == "min" else (high <= limit, low > limit)
    assert verdict is (Verdict.PASS if better else Verdict.FAIL if worse else Verdict.INCONCLUSIVE)


@given(st.integers(5, 300), st.floats(0, 0.2), st.floats(0, 0.2), st.floats(-0.3, 0.3), st.floats(0.6, 0.99))
def test_n_needed_really_settles_a_drop(n, lost, won, limit, confidence):
    a, b = round(lost * n), round(won * n)
    measured = paired_drop("top1_drop", [True] * a + [False] * (n - a), [False] * a + [True] * b + [False] * (n - a - b))
    judged = judge(Gate("distill", None, "top1_drop", "max", limit, confidence), measured)
    if judged.verdict is Verdict.INCONCLUSIVE and judged.n_needed:
        more, scale = judged.n_needed, judged.n_needed / n
        low, high = bonett_price_interval(round(a * scale), round(b * scale), more, NormalDist().inv_cdf(confidence))
        assert more > n
        assert not low <= limit < high


def test_n_needed_really_settles_a_share():
    judged = judge(gate("min", 0.9, 0.95), share("top1", [True] * 92 + [False] * 8))
    assert judged.verdict is Verdict.INCONCLUSIVE
    more = judged.n_needed
    again = judge(gate("min", 0.9, 0.95), share("top1", [True] * round(0.92 * more) + [False] * (more - round(0.92 * more))))
    assert again.verdict is Verdict.PASS
    assert f"{more} would settle it" in judged.why


def test_a_value_on_the_bound_is_settled_by_no_number():
    judged = judge(gate("min", 0.9, 0.95), share("top1", [True] * 9 + [False]))
    assert (judged.verdict, judged.n_needed) == (Verdict.INCONCLUSIVE, None)


def test_confidence_on_rounds_wants_all_rounds_on_one_side_and_enough_of_them():
    latency = percentile_over_rounds("latency_ms.p90", [[1.0 + r / 100] * 120 for r in range(6)], 0.9)
    assert judge(gate("max", 1.05, 0.95), latency).verdict is Verdict.PASS
    assert judge(gate("max", 0.99, 0.95), latency).verdict is Verdict.FAIL
    assert judge(gate("max", 1.03, 0.95), latency).verdict is Verdict.INCONCLUSIVE
    strict = judge(gate("max", 1.05, 0.999), latency)
    assert (strict.verdict, strict.n_needed) == (Verdict.INCONCLUSIVE, 1200)  # 10 rounds of 120: 0.5**10 < 0.001


def test_confidence_on_a_number_without_an_interval_cannot_be_reached():
    assert judge(gate("max", 5.0, 0.9), Measurement("size_mb", 1.0, "MB", 1)).verdict is Verdict.INCONCLUSIVE


def test_two_rounds_do_not_make_a_speedup():
    assert judge(gate("min", 1.1), over_rounds("speedup", [1.5, 1.6], "ratio", 200)).verdict is Verdict.INCONCLUSIVE


def test_a_waiver_lets_a_miss_through_by_name_and_nothing_else():
    missed, fine = share("top1", [False]), share("top1", [True])
    assert judge(gate(waive="known"), missed).verdict is Verdict.WAIVED
    assert judge(gate(waive="known"), missed).why == "does not hold; waived: known"
    assert judge(gate(waive="known"), fine).verdict is Verdict.PASS


@given(st.lists(st.sampled_from(Verdict)))
def test_the_worst_of_many_is_a_pass_only_if_all_are(verdicts):
    found = worst(verdicts)
    if found is Verdict.PASS:
        assert set(verdicts) <= {Verdict.PASS, Verdict.WAIVED}
    assert found is Verdict.FAIL or Verdict.FAIL not in verdicts
    assert worst([]) is Verdict.NOT_MEASURED


def test_a_judgement_as_json_has_the_keys_of_the_document():
    document = judge(replace(gate("min", 0.9, 0.95), target="cpu"), share("top1", [True] * 92 + [False] * 8)).as_json()
    assert set(document) == {
        "metric", "target", "bound", "limit", "value", "low", "high", "confidence", "n_needed", "verdict", "why",
    }  # fmt: skip
    assert document["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_measurement_that_is_no_number_is_written_as_null_and_says_so(value):
    document = Measurement("top1", value, "fraction", 3, value, value, rounds=(1.0, value)).as_json()
    assert (document["value"], document["low"], document["high"], document["rounds"]) == (None, None, None, [1.0])
    assert document["suspect"] == [f"the value was {value}", f"a round was measured as {value}"]
    assert Measurement.from_json(document).suspect


@given(gates, st.sampled_from([math.nan, math.inf, -math.inf, None]), st.integers(0, 5))
def test_a_waiver_covers_a_miss_and_never_a_number_that_is_none(one, value, n):
    waived = replace(one, waive="known")
    measured = Measurement("top1", value, "fraction", n)
    assert judge(waived, measured).verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_MEASURED)
    assert judge(waived, Measurement.from_json(measured.as_json())).verdict is judge(waived, measured).verdict


@given(gates, st.floats(0, 1))
def test_a_round_that_is_no_number_does_not_pass_after_it_was_stored_either(one, value):
    measured = Measurement("speedup", value, "ratio", 600, value, value, rounds=(value,) * 6 + (math.nan,))
    for again in (measured, Measurement.from_json(measured.as_json())):
        assert judge(one, again).verdict in (Verdict.INCONCLUSIVE, Verdict.WAIVED)
    assert judge(one, over_rounds("speedup", measured.rounds, "ratio", 600)).verdict is not Verdict.PASS
