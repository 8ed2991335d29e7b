"""Intervals that do not lie: Wilson for a share, Bonett-Price for a paired difference, Agresti-Caffo for one that is not paired,
Student's t over seeds, ranks and rounds for latency.

Sources: Wilson 1927; Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based
on paired data"; Agresti & Caffo 2000, "Simple and effective confidence intervals for proportions and differences of
proportions result from adding two successes and two failures"; MLPerf Inference loadgen, SingleStream (percentile by rank,
early-stopping query counts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, median, stdev

from edgekd.core.bits import packed
from edgekd.core.errors import InputError
from edgekd.core.measurement import Measurement

REPORTED_CONFIDENCE = 0.95  # two-sided, of every interval in a report
LEAST_ROUNDS = 6  # min-max of 6 rounds covers their median with 1 - 2 * 0.5**6 = 96.9 %
PERCENTILE_CONFIDENCE = 0.99  # of the query-rank rule: p90 needs 64 queries, p99 662


def z_two_sided(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson_interval(hits: int, n: int, z: float) -> tuple[float, float]:
    """Wilson score interval of a share. hits of n, z standard normal quantile. Returns (low, high) within [0, 1].

    Raises InputError: n < 1 or hits outside 0..n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise InputError("a share needs 0 <= hits <= n and n >= 1", seen=f"hits={hits}, n={n}")
    p, z2 = hits / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = max(0.0, centre - half) if hits else 0.0  # exact at the ends, where rounding would leave the share outside
    return low, min(1.0, centre + half) if hits < n else 1.0


def bonett_price_interval(lost: int, won: int, n: int, z: float) -> tuple[float, float]:
    """Interval of a paired drop (lost - won) / n; never of zero width.

    lost: images the reference gets right and the candidate wrong; won: the other way round; n: all images, z as above.
    Source: Bonett & Price 2012. Raises InputError: n < 1 or counts outside 0..n.
    """
    if n < 1 or lost < 0 or won < 0 or lost + won > n:
        raise InputError("a paired drop needs lost, won >= 0 and lost + won <= n, n >= 1", seen=f"{lost=}, {won=}, {n=}")
    p_lost, p_won = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    centre = p_lost - p_won
    half = z * math.sqrt((p_lost + p_won - centre * centre) / (n + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)


def agresti_caffo_interval(hits: int, n: int, other_hits: int, other_n: int, z: float) -> tuple[float, float]:
    """Interval of hits / n - other_hits / other_n, of samples that have nothing to do with one another; never of zero width.

    Raises InputError: an n < 1 or hits outside 0..n.
    """
    if min(n, other_n) < 1 or not 0 <= hits <= n or not 0 <= other_hits <= other_n:
        raise InputError("a share needs 0 <= hits <= n and n >= 1", seen=f"{hits} of {n}, {other_hits} of {other_n}")
    p, q = (hits + 1) / (n + 2), (other_hits + 1) / (other_n + 2)
    half = z * math.sqrt(p * (1 - p) / (n + 2) + q * (1 - q) / (other_n + 2))
    return max(-1.0, p - q - half), min(1.0, p - q + half)


def student_t_two_sided(confidence: float, degrees: int) -> float:
    """The t with P(|T| <= t) = confidence for Student's distribution. Raises InputError: degrees < 1, confidence outside (0, 1).

    Source: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4, inverted by bisection on the angle atan(t / sqrt(degrees)).
    """
    if degrees < 1 or not 0 < confidence < 1:
        raise InputError("Student's t needs a degree of freedom and 0 < confidence < 1", seen=f"{degrees=}, {confidence=}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """P(|T| <= tan(angle) * sqrt(degrees))."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for at in range(2 + odd, degrees - 1, 2):
        term *= (at - 1) / at * math.cos(angle) ** 2
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def mean_over_seeds(values: Sequence[float]) -> tuple[float, float | None]:
    """(mean, its standard error); no error from a single value. Raises InputError: no values."""
    if not values:
        raise InputError("a mean needs a value")
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def difference_over_seeds(differences: Sequence[float], least: float) -> tuple[float, float, float]:
    """(mean, low, high) of a paired difference, one value a seed, at 95 % by Student's t.

    least: the smallest difference that could be seen, one image. The spread over seeds counts as no less: a few equal
    differences are chance, not certainty. Raises InputError: fewer than two seeds.
    """
    if len(differences) < 2:
        raise InputError("an interval over seeds needs two of them", seen=str(len(differences)))
    mean, spread = fmean(differences), max(stdev(differences), least)
    half = student_t_two_sided(REPORTED_CONFIDENCE, len(differences) - 1) * spread / math.sqrt(len(differences))
    return mean, mean - half, mean + half


def seeds_to_tell(difference: float, spread: float) -> int | None:
    """The least number of seeds whose interval would leave 0 out, were difference and spread what they seem; None beyond 50."""
    for n in range(2, 51):
        if student_t_two_sided(REPORTED_CONFIDENCE, n - 1) * spread / math.sqrt(n) < abs(difference):
            return n
    return None


def share(name: str, right: Sequence[bool], **conditions: object) -> Measurement:
    """Accuracy as a Measurement in 0...1: ``right`` holds one truth value an image. An empty sequence gives n = 0, value None."""
    n, hits = len(right), sum(1 for one in right if one)
    if n == 0:
        return Measurement(name, None, "fraction", 0, conditions=conditions)
    low, high = wilson_interval(hits, n, z_two_sided(REPORTED_CONFIDENCE))
    stated = {"interval": "Wilson 95 %", **conditions}
    return Measurement(name, hits / n, "fraction", n, low, high, counts=(hits,), conditions=stated, right=packed(right))


def paired_drop(name: str, right_reference: Sequence[bool], right_candidate: Sequence[bool], **conditions: object) -> Measurement:
    """Accuracy drop of a candidate against a reference on the same images in the same order; positive when worse.

    Raises InputError when the two differ in length.
    """
    n = len(right_reference)
    if n != len(right_candidate):
        raise InputError("a paired drop needs the same images on both sides", seen=f"{n} and {len(right_candidate)}")
    if n == 0:
        return Measurement(name, None, "fraction", 0, conditions=conditions)
    pairs = [(bool(a), bool(b)) for a, b in zip(right_reference, right_candidate, strict=True)]
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    low, high = bonett_price_interval(lost, won, n, z_two_sided(REPORTED_CONFIDENCE))
    stated = {"interval": "Bonett-Price 95 %, paired", **conditions}
    return Measurement(name, (lost - won) / n, "fraction", n, low, high, counts=(lost, won), conditions=stated)


def percentile_by_rank(values: Sequence[float], q: float) -> float:
    """Nearest rank: sorted[ceil(q * n) - 1]. Raises InputError: no values, or q outside (0, 1)."""
    if not values or not 0 < q < 1:
        raise InputError("a percentile needs values and 0 < q < 1", seen=f"n={len(values)}, q={q}")
    return sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]


def least_queries(q: float) -> int:
    """How many queries percentile q needs: p90 64, p99 662 (exact binomial, one slow query allowed, 99 % confidence).

    The least n with P(at most one of n queries is slower than the true percentile) <= 1 - 0.99.
    """
    n = 2
    while q**n + n * (1 - q) * q ** (n - 1) > 1 - PERCENTILE_CONFIDENCE:
        n += 1
    return n


def percentile_over_rounds(name: str, rounds_ms: Sequence[Sequence[float]], q: float, **conditions: object) -> Measurement:
    """Percentile q of single-query latencies, by rank, with the spread over rounds as its interval.

    rounds_ms: one sequence a round, milliseconds a query, warm-up already removed. q in (0, 1).
    value: the median of the rounds' percentiles; low, high: their least and greatest. With fewer than six rounds or fewer
    queries than the rank rule asks for, ``n_needed`` says how many queries would do and no gate passes on it.
    Raises InputError: times that are negative or not finite. Source: MLPerf Inference rules, SingleStream.
    """
    if any(not (math.isfinite(ms) and ms >= 0) for one in rounds_ms for ms in one):
        raise InputError("latencies must be finite and not negative", where=name)
    full = [one for one in rounds_ms if one]
    n = sum(len(one) for one in full)
    if n == 0:
        return Measurement(name, None, "ms", 0, conditions=conditions)
    values = tuple(percentile_by_rank(one, q) for one in full)
    a_round = n // len(full)
    needed = max(least_queries(q), LEAST_ROUNDS * a_round)
    return Measurement(
        name, median(values), "ms", n, min(values), max(values), rounds=values,
        n_needed=needed if n < needed or len(full) < LEAST_ROUNDS else None,
        conditions={"interval": f"min-max over {len(full)} rounds", **conditions},
    )  # fmt: skip


def over_rounds(name: str, values: Sequence[float], unit: str, n: int, **conditions: object) -> Measurement:
    """A per-round quantity (speedup, throughput): median with min-max over rounds; n queries lie behind it.

    A round that is not finite is not in it, and makes it suspect.
    """
    finite = tuple(value for value in values if math.isfinite(value))
    if not finite or n == 0:
        return Measurement(name, None, unit, 0, conditions=conditions)
    few = len(finite) < LEAST_ROUNDS
    stated = {"interval": f"min-max over {len(finite)} rounds", **conditions}
    needed = n // len(finite) * LEAST_ROUNDS if few else None
    odd = tuple(f"a round was measured as {value}" for value in values if not math.isfinite(value))
    return Measurement(
        name, median(finite), unit, n, min(finite), max(finite), rounds=finite, suspect=odd, n_needed=needed, conditions=stated
    )
