"""Right or wrong, image by image, survives being written down; what is no such text is told from one."""

from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import Measurement, share
from edgekd.core.bits import packed, unpacked


@given(st.lists(st.booleans(), max_size=70))
def test_what_is_packed_comes_back(truths):
    assert unpacked(packed(truths), len(truths)) == truths


@given(st.text(max_size=12), st.integers(1, 40))
def test_any_other_text_is_no_result_or_one_of_the_right_length(text, n):
    found = unpacked(text, n)
    assert found is None or len(found) == n


def test_a_share_remembers_which_images_were_right_and_so_does_its_document():
    measured = share("top1", [True, False, True])
    assert unpacked(measured.right, 3) == [True, False, True]
    assert Measurement.from_json(measured.as_json()) == measured
    assert "right" not in Measurement("size_mb", 1.0, "MB", 1).as_json()
