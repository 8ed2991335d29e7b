"""Intervals against known values, against an independent computation, and against what they promise."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import InputError, over_rounds, paired_drop, percentile_over_rounds, share
from edgekd.core.statistics import (
    LEAST_ROUNDS,
    agresti_caffo_interval,
    bonett_price_interval,
    difference_over_seeds,
    least_queries,
    mean_over_seeds,
    percentile_by_rank,
    student_t_two_sided,
    wilson_interval,
    z_two_sided,
)

Z95 = 1.959963984540054

counts = (
    st.integers(1, 500)
    .flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)))
    .filter(lambda c: c[0] + c[1] <= c[2])
)


# Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3 (score, no continuity correction).
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_table(hits, n, low, high):
    assert wilson_interval(hits, n, z_two_sided(0.95)) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.1, 4))
def test_wilson_bounds_solve_the_score_equation(hits_n, z):
    """(p̂ − p)² = z² p (1 − p) / n at both ends, which is how the interval is defined."""
    hits, n = hits_n
    for p in wilson_interval(hits, n, z):
        assert 0 <= p <= 1
        if 0 < p < 1:
            assert (hits / n - p) ** 2 == pytest.approx(z * z * p * (1 - p) / n, rel=1e-6, abs=1e-12)


@given(counts, st.floats(0.1, 4))
def test_bonett_price_against_a_second_computation(lost_won_n, z):
    lost, won, n = lost_won_n
    p12, p21 = Fraction(lost + 1, n + 2), Fraction(won + 1, n + 2)
    half = z * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    low, high = bonett_price_interval(lost, won, n, z)
    assert low == pytest.approx(max(-1.0, float(p12 - p21) - half), abs=1e-12)
    assert high == pytest.approx(min(1.0, float(p12 - p21) + half), abs=1e-12)
    assert low < high  # never of zero width
    assert bonett_price_interval(won, lost, n, z) == pytest.approx((-high, -low), abs=1e-12)


def test_bonett_price_covers_the_truth_as_often_as_it_says():
    """Exact: every outcome of 40 pairs that lose with 0.1 and win with 0.04, weighed by its probability."""
    n, p_lost, p_won, covered = 40, 0.10, 0.04, 0.0
    for lost in range(n + 1):
        for won in range(n + 1 - lost):
            low, high = bonett_price_interval(lost, won, n, Z95)
            if low <= p_lost - p_won <= high:
                ways = math.comb(n, lost) * math.comb(n - lost, won)
                covered += ways * p_lost**lost * p_won**won * (1 - p_lost - p_won) ** (n - lost - won)
    assert 0.94 < covered < 0.99


@pytest.mark.parametrize("bad", [(-1, 10), (11, 10), (0, 0)])
def test_counts_that_cannot_be_are_refused(bad):
    with pytest.raises(InputError):
        wilson_interval(*bad, Z95)
    with pytest.raises(InputError):
        bonett_price_interval(bad[0], 1, bad[1], Z95)


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_share_is_its_hits_over_n_inside_its_interval(right):
    measured = share("top1", right)
    assert (measured.value, measured.n, measured.counts) == (sum(right) / len(right), len(right), (sum(right),))
    assert measured.low <= measured.value <= measured.high
    assert measured.low < measured.high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_a_drop_is_the_difference_of_the_accuracies_and_changes_sign_with_the_roles(pairs):
    reference, candidate = [a for a, _ in pairs], [b for _, b in pairs]
    drop = paired_drop("top1_drop", reference, candidate)
    assert drop.value == pytest.approx((sum(reference) - sum(candidate)) / len(pairs))
    assert paired_drop("top1_drop", candidate, reference).value == pytest.approx(-drop.value)
    assert drop.low < drop.high


def test_nothing_measured_is_n_0_without_a_value():
    for measured in (share("top1", []), paired_drop("top1_drop", [], []), percentile_over_rounds("p50", [[], []], 0.5),
                     over_rounds("speedup", [], "ratio", 0), over_rounds("speedup", [math.nan], "ratio", 9)):  # fmt: skip
        assert (measured.value, measured.n, measured.has_interval) == (None, 0, False)


def test_a_drop_needs_the_same_images():
    with pytest.raises(InputError):
        paired_drop("top1_drop", [True], [True, False])


def test_p90_needs_64_queries_and_p99_662():  # MLPerf loadgen, early stopping for SingleStream at 99 %
    assert (least_queries(0.9), least_queries(0.99)) == (64, 662)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.integers(1, 99))
def test_a_percentile_is_a_value_with_at_least_q_at_or_below_it_and_the_least_such(values, percent):
    q = percent / 100
    found = percentile_by_rank(values, q)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert 100 * sum(value < found for value in values) < percent * len(values)


def test_percentiles_by_rank_by_hand():
    assert percentile_by_rank([15, 20, 35, 40, 50], 0.3) == 20  # ceil(0.3 * 5) = 2
    assert percentile_by_rank(list(range(1, 101)), 0.9) == 90
    assert percentile_by_rank([7], 0.99) == 7


def test_latency_is_the_median_round_with_the_spread_of_rounds():
    rounds = [[float(base + i) for i in range(100)] for base in (10, 11, 12, 13, 14, 15, 90)]
    measured = percentile_over_rounds("latency_ms.p90", rounds, 0.9)
    assert (measured.value, measured.low, measured.high, measured.n) == (102.0, 99.0, 179.0, 700)
    assert (measured.n_needed, len(measured.rounds)) == (None, 7)


@pytest.mark.parametrize(
    ("rounds", "each", "q", "needed"), [(5, 200, 0.5, 1200), (6, 10, 0.9, 64), (6, 100, 0.99, 662), (1, 700, 0.99, 4200)]
)
def test_too_few_rounds_or_queries_say_how_many_are_needed(rounds, each, q, needed):
    measured = percentile_over_rounds("latency_ms", [[1.0] * each] * rounds, q)
    assert measured.n_needed == needed


def test_what_is_needed_is_enough():
    few = percentile_over_rounds("latency_ms", [[1.0] * 100] * 6, 0.99)
    assert percentile_over_rounds("latency_ms", [[1.0] * -(-few.n_needed // 6)] * 6, 0.99).n_needed is None


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_impossible_latencies_are_refused(bad):
    with pytest.raises(InputError):
        percentile_over_rounds("latency_ms", [[1.0, bad]], 0.5)


def test_six_rounds_cover_their_median_with_at_least_95_percent():
    """min-max of six independent draws misses the median only when all lie on one side: 2 / 2**6 = 3.1 %."""
    generator = random.Random(0)
    draws = [[generator.gauss(5.0, 1.0) for _ in range(LEAST_ROUNDS)] for _ in range(4000)]
    covered = sum(min(values) <= 5.0 <= max(values) for values in draws) / len(draws)
    assert covered == pytest.approx(1 - 2 * 0.5**LEAST_ROUNDS, abs=0.01)


@pytest.mark.parametrize(
    ("degrees", "confidence", "t"),  # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (3, 0.95, 3.182), (4, 0.95, 2.776), (9, 0.99, 3.250), (30, 0.95, 2.042)],
)
def test_students_t_is_that_of_the_printed_tables(degrees, confidence, t):
    assert student_t_two_sided(confidence, degrees) == pytest.approx(t, abs=5e-4)


def test_students_t_becomes_the_normal_quantile():
    assert student_t_two_sided(0.95, 20_000) == pytest.approx(z_two_sided(0.95), abs=2e-4)


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.floats(0.001, 0.009))
def test_students_t_rises_with_confidence_and_falls_with_seeds(degrees, confidence, more):
    t = student_t_two_sided(confidence, degrees)
    assert 0 < student_t_two_sided(confidence, degrees + 1) < t < student_t_two_sided(confidence + more, degrees)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.floats(1e-4, 0.1))
def test_an_interval_over_seeds_holds_its_mean_has_a_width_and_turns_with_the_sign(differences, least):
    mean, low, high = difference_over_seeds(differences, least)
    assert low < mean < high
    assert difference_over_seeds([-one for one in differences], least) == pytest.approx((-mean, -high, -low))


def test_equal_differences_of_two_seeds_are_no_certainty():
    mean, low, high = difference_over_seeds([0.01, 0.01], 0.01)  # one image of a hundred, twice
    assert mean == 0.01 and low < 0 < high


def test_a_difference_over_seeds_by_hand():  # 1 %, 2 %, 3 %: s.e. 1 % / sqrt 3, t of two degrees 4.303
    assert difference_over_seeds([0.01, 0.02, 0.03], 0.001) == pytest.approx((0.02, 0.02 - 0.02484, 0.02 + 0.02484), abs=1e-5)
    with pytest.raises(InputError):
        difference_over_seeds([0.01], 0.001)


def test_the_mean_over_seeds_has_an_error_only_from_two_on():
    assert mean_over_seeds([0.5]) == (0.5, None)
    assert mean_over_seeds([0.4, 0.6]) == pytest.approx((0.5, 0.1))


@given(st.integers(0, 40), st.integers(0, 40))
def test_two_shares_that_are_not_paired_differ_by_an_interval_that_turns_with_them(hits, others):
    low, high = agresti_caffo_interval(hits, 40, others, 40, 1.96)
    assert low < high and agresti_caffo_interval(others, 40, hits, 40, 1.96) == pytest.approx((-high, -low))
    assert (low <= 0 <= high) or (low > 0) == (hits > others)
