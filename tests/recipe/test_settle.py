"""What the images at hand can settle, held against the judge itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import Gate, Verdict, judge, paired_drop, share
from edgekd.recipe import images_needed, unsettled_by


def best_case(gate: Gate, n: int) -> Verdict:
    if gate.metric == "top1_drop":
        return judge(gate, paired_drop("top1_drop", [True] * n, [True] * n)).verdict
    return judge(gate, share("top1", [gate.bound == "min"] * n)).verdict


@given(st.sampled_from(["top1", "top1_drop"]), st.sampled_from(["min", "max"]), st.floats(0.02, 0.95), st.floats(0.6, 0.999))
def test_the_number_is_the_least_on_which_the_best_case_passes(metric, bound, limit, confidence):
    gate = Gate("distill", None, metric, "max" if metric == "top1_drop" else bound, limit, confidence)
    n = images_needed(gate)
    assert best_case(gate, n) is Verdict.PASS
    assert n == 1 or best_case(gate, n - 1) is not Verdict.PASS


def test_by_hand():  # z = 1.645: all right on n gives n / (n + z²) ≥ 0.95, so n ≥ 19 z² = 51.4
    gate = Gate("distill", None, "top1", "min", 0.95, 0.95)
    assert images_needed(gate) == 52
    what = "distill: 40 images cannot show top1 ≥ 0.95 at 0.95, even if all of them were right; 52 could"
    assert (unsettled_by(gate, 40), unsettled_by(gate, 52)) == (what, None)


def test_a_drop_names_its_target_and_its_best_case():
    gate = Gate("benchmark", "cpu", "top1_drop", "max", 0.001, 0.95)
    assert unsettled_by(gate, 359) == (
        "benchmark cpu: 359 images cannot show top1_drop ≤ 0.001 at 0.95, even if not one of them changed; 2,325 could"
    )


@pytest.mark.parametrize(
    "gate",
    [
        Gate("distill", None, "top1", "min", 0.99),  # judges the value itself
        Gate("benchmark", "cpu", "latency_ms.p90", "max", 1.0, 0.95),  # queries, not images
        Gate("distill", None, "top1_drop", "max", 0.0, 0.95),  # only a student that gains can pass
    ],
)
def test_what_images_do_not_decide_is_left_alone(gate):
    assert (images_needed(gate), unsettled_by(gate, 1)) == (None, None)
