"""What preflight is judged by: its own gates, and the tightest latency bound of the target on the fastest query."""

import pytest

from edgekd.core import Measurement, Outcome, Verdict
from edgekd.pipeline.chain import STAGES, Step
from edgekd.pipeline.judging import FASTEST, judgements, to_be_renewed
from edgekd.recipe import loads

RECIPE = """\
edgekd: 1
name: judged
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets: {cpu: {device: local-cpu, runtime: onnxruntime}}
"""
PREFLIGHT, BENCHMARK = Step(STAGES["preflight"], "cpu"), Step(STAGES["benchmark"], "cpu")
TIMED = Outcome(
    (),
    (
        Measurement("latency_ms.p50", 2.0, "ms", 600, 1.5, 3.0, rounds=(1.5, 2.0, 2.0, 2.0, 2.0, 3.0), suspect=("busy",)),
        Measurement(FASTEST, 1.0, "ms", 600),
    ),
)


def judged(*overrides, step=PREFLIGHT, outcome=TIMED):
    """(metric, verdict, the key the bound stands under) of each judgement."""
    recipe = loads(RECIPE, "judged.yaml", ".", overrides)
    found = judgements(step, outcome, recipe)
    assert all(one.as_json().get("inherited") == one.gate.inherited for one in found)
    return [(one.gate.metric, one.verdict, one.gate.inherited) for one in found]


P50 = "gates.benchmark.cpu.latency_ms.p50"
P90 = "gates.benchmark.cpu.latency_ms.p90"
OWN = "gates.preflight.cpu.latency_ms.p50"


def test_a_benchmark_bound_below_the_fastest_query_fails_before_training_even_under_suspect_conditions():
    assert judged(f"{P50}={{max: 0.9}}") == [(FASTEST, Verdict.FAIL, P50)]
    assert judged(f"{P50}={{max: 0.9, confidence: 0.95}}") == [(FASTEST, Verdict.FAIL, P50)]


def test_a_bound_that_the_fastest_query_holds_is_left_to_the_benchmark():
    assert judged(f"{P50}={{max: 1.1}}") == [(FASTEST, Verdict.PASS, P50)]


def test_the_tightest_of_several_bounds_is_asked_and_named():
    assert judged(f"{P50}={{max: 9}}", f"{P90}={{max: 0.5}}") == [(FASTEST, Verdict.FAIL, P90)]


def test_a_preflight_bound_takes_the_place_of_benchmarks_on_the_same_percentile_and_is_judged_itself_too():
    own = f"{OWN}={{max: 5}}"
    assert judged(f"{P50}={{max: 0.5}}", own) == [("latency_ms.p50", Verdict.INCONCLUSIVE, None), (FASTEST, Verdict.PASS, OWN)]
    impossible = f"{OWN}={{max: 0.5}}"
    assert judged(impossible) == [("latency_ms.p50", Verdict.INCONCLUSIVE, None), (FASTEST, Verdict.FAIL, OWN)]


@pytest.mark.parametrize(
    "gate", [f"{P50}={{max: 0.5, waive: agreed}}", f"{P50}={{min: 5}}", "gates.benchmark.cpu.latency_ms_fp32.p50={max: 0.1}"]
)
def test_what_does_not_bound_the_students_latency_or_is_waived_stops_nothing(gate):
    assert judged(gate) == []


def test_nothing_is_said_of_a_device_that_was_not_measured_nor_by_another_stage():
    assert judged(f"{P50}={{max: 0.5}}", outcome=Outcome()) == []
    assert judged(f"{P50}={{max: 0.5}}", step=BENCHMARK) == [("latency_ms.p50", Verdict.INCONCLUSIVE, None)]


def test_the_reason_says_that_training_does_not_help():
    recipe = loads(RECIPE, "judged.yaml", ".", [f"{P50}={{max: 0.9}}"])
    (found,) = judgements(PREFLIGHT, TIMED, recipe)
    assert found.why == f"even the fastest of 600 queries is slower than {P50} allows: no training will make it faster"


def test_a_measurement_cut_short_is_taken_again_and_others_only_if_a_gated_number_is_suspect():
    recipe = loads(RECIPE, "judged.yaml", ".", [f"{OWN}={{max: 3}}"])
    assert to_be_renewed(PREFLIGHT, Outcome((), (), {"cut_short": True}), recipe)
    assert not to_be_renewed(PREFLIGHT, Outcome((), (), {"cut_short": False}), recipe)
    assert to_be_renewed(PREFLIGHT, TIMED, recipe)
    assert not to_be_renewed(Step(STAGES["teacher"]), Outcome((), (), {"cut_short": True}), recipe)
