"""Tensors of several executions, from each to the next; and the waterfall of their logits."""

import math

import numpy as np
import pytest

from edgekd.stages.apart import apart
from edgekd.stages.waterfall import Execution, waterfall


def _execution(**tensors):
    return lambda image: {name: np.asarray(value, "f4") * image.sum() for name, value in tensors.items()}


IMAGES = [np.ones((1, 1, 1, 1), "f4"), np.full((1, 1, 1, 1), 2, "f4")]


def test_signal_and_noise_are_summed_over_the_images_by_hand():
    """Noise a tenth of the signal in every image: 20 dB; and 40 dB at the next hop."""
    found = apart([_execution(a=[1.0]), _execution(a=[1.1]), _execution(a=[1.1 * 1.01])], IMAGES)
    assert [one["a"] for one in found] == pytest.approx([20.0, 40.0], abs=1e-3)


def test_only_tensors_of_both_in_one_shape_are_compared_in_the_first_ones_order():
    first = _execution(b=[1, 2], a=[1], only=[3], wide=[1, 2, 3])
    assert list(apart([first, _execution(a=[1], b=[1, 2], wide=[1, 2])], IMAGES)[0].items()) == [("b", 200.0), ("a", 200.0)]


def test_infinity_and_silence_are_told_apart_from_noise():
    (found,) = apart([_execution(infinite=[np.inf], silent=[0.0]), _execution(infinite=[np.inf], silent=[1.0])], IMAGES)
    assert math.isnan(found["infinite"]) and found["silent"] == -200.0


LABELS = np.array([0, 1, 0, 1])
RIGHT = np.eye(2, dtype="f4")[LABELS]


def test_a_hop_counts_both_ways_and_its_interval_has_a_width():
    turned = RIGHT.copy()
    turned[:2] = -turned[:2]
    back = turned.copy()
    back[0] = RIGHT[0]
    fell = waterfall("ort", "test", LABELS, [Execution("a", RIGHT), Execution("b", turned), Execution("c", back)])
    assert [one["top1"] for one in fell["steps"]] == [1.0, 0.5, 0.75]
    assert [(one["lost"], one["won"], one["drop"]) for one in fell["hops"]] == [(2, 0, 0.5), (0, 1, -0.25)]
    assert all(one["low"] < one["drop"] < one["high"] for one in fell["hops"])


def test_the_tensor_that_lost_most_is_the_least_and_no_number_is_less_than_any():
    def worst(**inner):
        return waterfall("ort", "test", LABELS, [Execution("a", RIGHT)] * 2, [inner])["hops"][0]["worst"]

    assert worst(a=30.0, b=12.5, c=12.5) == {"tensor": "b", "sqnr_db": 12.5}
    assert worst(a=30.0, b=math.nan) == {"tensor": "b", "sqnr_db": None}
    assert worst() is None
