"""Gates name only what is measured, and every measured name can be gated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import Gate
from edgekd.recipe import STAGES
from edgekd.recipe.gates import nested, read_gates
from edgekd.recipe.problem import Problems

NAMES = [(stage, name) for stage, one in STAGES.items() for name in one.metrics]


@st.composite
def gates(draw) -> list[Gate]:
    """At most one a metric and target, as a tree of YAML can say them."""
    chosen = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    found = []
    for stage, name in chosen:
        metric = STAGES[stage].metrics[name]
        ranges = {"fraction": (0.25, 0.75), "dB": (-1e6, 1e6)}
        limit = draw(st.floats(*ranges.get(metric.unit, (0, 1e6))))
        confidence = draw(st.none() | st.floats(0.5, 0.999)) if metric.interval else None
        waive = draw(st.none() | st.just("known"))
        for target in draw(st.sampled_from([["cpu"], ["cpu", "jetson"]])) if STAGES[stage].per_target else [None]:
            found.append(Gate(stage, target, name, draw(st.sampled_from(["min", "max"])), limit, confidence, waive))
    return found


@given(gates())
def test_gates_written_as_a_tree_are_read_back_the_same(given_gates):
    assert set(read_gates(nested(given_gates), ["cpu", "jetson"])) == set(given_gates)


@pytest.mark.parametrize(("stage", "name"), NAMES)
def test_every_metric_of_the_table_can_be_gated_and_confidence_needs_its_interval(stage, name):
    target = "cpu" if STAGES[stage].per_target else None
    read_gates(nested([Gate(stage, target, name, "max", 0.5)]), ["cpu"])
    asked = nested([Gate(stage, target, name, "max", 0.5, confidence=0.95)])
    if STAGES[stage].metrics[name].interval:
        read_gates(asked, ["cpu"])
    else:
        with pytest.raises(Problems, match="without an interval"):
            read_gates(asked, ["cpu"])


def test_targets_that_could_not_be_read_are_not_held_against_the_gates():
    tree = {"benchmark": {"jetson": {"top1": {"min": 0.9}}}}
    assert read_gates(tree, None)[0].target == "jetson"
    with pytest.raises(Problems, match="unknown target 'jetson'"):
        read_gates(tree, ["cpu"])


WORDS = st.sampled_from(["distill", "benchmark", "cpu", "top1", "latency_ms", "p50", "min", "max", "confidence", "waive", "x"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(WORDS, below, max_size=3),
    max_leaves=8,
)


@given(TREES)
def test_any_tree_gives_gates_with_finite_limits_or_problems(tree):
    try:
        read = read_gates(tree, ["cpu"])
    except Problems as problems:
        assert problems.problems
    else:
        assert all(abs(gate.limit) < float("inf") and (gate.confidence is None or 0.5 <= gate.confidence < 1) for gate in read)
