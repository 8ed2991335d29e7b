"""Right or wrong from logits, against values worked by hand and a brute-force ranking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgekd.core import Gate, Verdict, judge
from edgekd.stages.accuracy import expected_calibration_error, right, top5

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [1.0, 1.0, 0.0], [np.nan, 5.0, 0.0]], dtype=np.float32)


def test_ties_go_to_the_first_class_and_nan_is_wrong():
    assert right(LOGITS, np.array([0, 0, 1, 1])) == [True, False, False, False]
    assert right(LOGITS, np.array([0, 2, 0, 1])) == [True, True, True, False]


@given(arrays(np.float32, (7, 6), elements=st.floats(-3, 3, width=16)), st.integers(1, 6), st.integers(0, 5))
def test_right_is_membership_in_a_stable_descending_sort(logits, k, label):
    labels = np.full(7, label)
    expected = [label in sorted(range(6), key=lambda c, row=row: (-row[c], c))[:k] for row in logits]
    assert right(logits, labels, k) == expected


def test_top5_of_three_classes_is_one():
    assert top5(LOGITS[:3], np.array([2, 0, 2])).value == 1.0


def test_calibration_error_by_hand():
    # two classes, confidence 0.75 each, one right and one wrong: |0.5 - 0.75| = 0.25
    logits = np.log(np.array([[0.75, 0.25], [0.75, 0.25]], dtype=np.float32))
    assert expected_calibration_error(logits, np.array([0, 1])).value == pytest.approx(0.25, abs=1e-6)


def test_no_images_is_not_measured():
    empty = np.zeros((0, 3), dtype=np.float32)
    assert (top5(empty, np.zeros(0, int)).value, expected_calibration_error(empty, np.zeros(0, int)).n) == (None, 0)


def test_a_logit_that_is_no_number_leaves_no_calibration_error_to_pass_a_gate():
    measured = expected_calibration_error(LOGITS, np.array([0, 2, 0, 1]))
    assert np.isnan(measured.value)
    assert judge(Gate("teacher", None, "ece", "max", 1.0), measured).verdict is Verdict.INCONCLUSIVE
