"""How far two executions part: worked by hand, and nothing that is no number agrees."""

import math

import numpy as np
import pytest

from edgekd.core import Gate, Verdict, judge
from edgekd.stages.signal import MOST_DB, parity, sqnr

A = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)


def named(measurements):
    return {one.name.partition(".")[2]: one for one in measurements}


def test_sqnr_by_hand():
    assert sqnr(A, A + np.array([[0.5, 0.0], [0.0, 0.0]], np.float32)) == pytest.approx(20.0)  # 25 / 0.25
    assert sqnr(A, np.zeros_like(A)) == pytest.approx(0.0)
    assert sqnr(np.zeros_like(A), A) == -MOST_DB


def test_equal_logits_are_at_the_most_and_almost_equal_ones_not_above():
    assert sqnr(A, A.copy()) == MOST_DB
    assert sqnr(np.full((1, 1), 1e30, np.float32), np.full((1, 1), 1e30, np.float32) * np.float32(1 + 1e-7)) <= MOST_DB


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sides", ["reference", "other", "both"])
def test_a_row_that_is_no_number_agrees_with_nothing_and_no_gate_passes_on_it(odd, sides):
    good = np.tile(np.array([[1.0, 2.0]], np.float32), (4, 1))
    broken = good.copy()
    broken[1, 1] = odd
    reference, other = {"reference": (broken, good), "other": (good, broken), "both": (broken, broken)}[sides]
    with np.errstate(invalid="ignore"):
        found = named(parity("parity", reference, other, images="held-out"))
    assert (found["top1_agreement"].value, found["top1_agreement"].n) == (0.75, 4)
    gates = {"top1_agreement": ("min", 1.0), "sqnr_db": ("min", -300.0), "max_abs": ("max", 1e9)}
    for name, (bound, limit) in gates.items():
        assert judge(Gate("export", None, f"parity.{name}", bound, limit), found[name]).verdict is not Verdict.PASS


def test_parity_by_hand():
    other = np.array([[4.5, 4.0], [0.0, 0.0]], np.float32)
    found = named(parity("parity", A, other))
    assert (found["top1_agreement"].value, found["max_abs"].value, found["max_abs"].n) == (0.5, 1.5, 2)
    assert found["sqnr_db"].value == pytest.approx(10 * math.log10(25 / 2.25))


def test_no_images_are_not_measured():
    nothing = np.zeros((0, 3), np.float32)
    for one in parity("parity", nothing, nothing):
        gate = Gate("export", None, one.name, "max", 1e9)
        assert judge(gate, one).verdict is Verdict.NOT_MEASURED
