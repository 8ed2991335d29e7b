import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekd.core import InputError
from edgekd.export import compare


def test_by_hand():  # signal 25, noise 1: 10 log10 25 = 13.979 dB; the second image changes class
    reference, other = np.array([[3.0, 0.0], [4.0, 0.0]]), np.array([[3.0, 0.0], [4.0, 1.0]])
    assert compare(reference, other) == {"top1_agreement": 1.0, "sqnr_db": pytest.approx(13.9794), "max_abs": 1.0, "n": 2}
    assert compare(reference, np.array([[3.0, 0.0], [0.0, 1.0]]))["top1_agreement"] == 0.5


def test_equal_logits_have_the_highest_ratio_and_it_is_finite():
    logits = np.ones((3, 2), np.float32)
    assert compare(logits, logits) == {"top1_agreement": 1.0, "sqnr_db": 200.0, "max_abs": 0.0, "n": 3}


def test_a_reference_of_zeros_has_the_lowest():
    assert compare(np.zeros((1, 2)), np.ones((1, 2)))["sqnr_db"] == -200.0


@given(pair=hnp.arrays(np.float32, (2, 4, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_whatever_the_logits_the_numbers_are_finite(pair):
    assert all(math.isfinite(value) for value in compare(*pair).values())


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        (np.ones((2, 3)), np.ones((3, 2))),
        (np.ones(3), np.ones(3)),
        (np.ones((0, 3)), np.ones((0, 3))),
        (np.ones((1, 2)), np.array([[1.0, np.nan]])),
        (np.array([[1.0, np.inf]]), np.ones((1, 2))),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, other):
    with pytest.raises(InputError):
        compare(reference, other)
