"""Logits that came in parts are joined only where each part is of its images."""

import numpy as np
import pytest

from edgekd.core import DeviceError
from edgekd.targets.answers import joined


def rows(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_parts_are_joined_in_order():
    assert joined([rows(2, 3), rows(1, 3)], [2, 1], "here").tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


@pytest.mark.parametrize("parts", [
    [], [rows(2, 3)], [rows(1, 3), rows(2, 3)], [rows(2, 3), rows(1, 4)], [rows(6), rows(3)], [rows(2, 3, 1), rows(1, 3, 1)],
])  # fmt: skip
def test_rows_that_could_be_another_images_are_refused(parts):
    with pytest.raises(DeviceError, match="another number of results") as refused:
        joined(parts, [2, 1], "jetson: infer")
    assert refused.value.where == "jetson: infer"
