"""Of the flavours' parity the worse one is judged; a number that is none is worst of all."""

import math

import pytest

from edgekd.core import Measurement
from edgekd.stages.export import _worst


@pytest.mark.parametrize(
    ("name", "values", "worst"),
    [
        ("parity.top1_agreement", (0.9, 1.0), 0.9),
        ("parity.sqnr_db", (40.0, 20.0), 20.0),
        ("parity.max_abs", (0.1, 0.5), 0.5),
        ("parity.sqnr_db", (40.0, math.nan), math.nan),
        ("parity.max_abs", (math.nan, 0.5), math.nan),
        ("parity.max_abs", (0.5, math.inf), math.inf),
        ("parity.top1_agreement", (1.0, None), None),
    ],
)
def test_the_worst_flavour_is_measured(name, values, worst):
    for order in (values, values[::-1]):
        found = _worst(tuple(Measurement(name, value, "1", 9) for value in order)).value
        assert found == worst or (math.isnan(found) and math.isnan(worst))
