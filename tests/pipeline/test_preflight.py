"""A bound no training helps to hold ends the walk before training; what is not connected is prepared for, and not measured."""

import pytest

from edgekd.core import Verdict
from edgekd.pipeline import Stage, chain, run_document, run_verdict, target_verdicts, verdict
from edgekd.pipeline.keys import Keys
from edgekd.recipe import load
from edgekd.report.document import parse

pytestmark = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])

JETSON = "  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: int8+fp16, required: when-connected}\n"
WHY = "no host is given: --host jetson=[user@]HOST"


@pytest.fixture
def walk(walk, toy_chain, monkeypatch):
    """The toy chain with a preflight before it, and a build and a benchmark behind it; two targets, one not connected."""
    stages = (
        Stage("preflight", 1, "toy_stages:flown", (), (), (), per_target=True),
        *chain.CHAIN,
        Stage("build", 1, "toy_stages:prepared", ("distill",), (), (), per_target=True, prepares=True),
        Stage("benchmark", 1, "toy_stages:timed", ("distill", "build"), (), (), per_target=True),
    )
    for module in (chain, verdict):
        monkeypatch.setattr(module, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr(Keys, "_identity", lambda keys, target: {"arch": "toy"})
    (walk.folder / "toy.yaml").write_text(walk.recipe.replace("gates:\n", f"{JETSON}gates:\n"))
    return walk


def statuses(walked):
    return {row.step.name: row.status for row in walked.rows}


@pytest.mark.parametrize(
    "gate", ["gates.benchmark.cpu.latency_ms.p90={max: 0.9}", "gates.preflight.cpu.latency_ms.p50={max: 0.9}"]
)
def test_an_impossible_bound_ends_the_walk_before_anything_trains(walk, gate):
    walked = walk(gate)
    assert walk.calls() == ["cpu/preflight"]
    assert set(statuses(walked).values()) == {"done", "skipped"}
    recipe = load(walk.folder / "toy.yaml", [gate])
    assert run_verdict(walked, recipe) == (Verdict.FAIL, 3)
    assert [one.verdict for one in target_verdicts(walked, recipe)] == [Verdict.FAIL, Verdict.NOT_MEASURED]
    document = parse(run_document(walked, recipe, walk.folder / "run", resume=["edgekd"], started=0.0))
    (judged,) = [one for one in document.stages[0].gates if one.verdict is Verdict.FAIL]
    assert (judged.metric, judged.inherited, judged.value) == ("latency_ms.fastest", gate.partition("=")[0], 1.0)
    assert "no training will make it faster" in judged.why


def test_a_possible_bound_lets_it_train_though_the_sketch_was_timed_under_suspect_conditions(walk):
    walked = walk("gates.benchmark.cpu.latency_ms.p90={max: 3}")
    assert walk.calls() == ["cpu/preflight", "teacher", "distill", "cpu/build", "jetson/build", "cpu/benchmark"]
    judged = [(one.gate.metric, one.verdict) for row in walked.rows for one in row.judgements if row.step.name == "cpu/preflight"]
    assert judged == [("latency_ms.fastest", Verdict.PASS)]


def test_an_unconnected_device_is_prepared_for_and_never_passes(walk):
    gate = "gates.build.jetson.size_mb={max: 9}"
    walked = walk(gate)
    rows = {row.step.name: row for row in walked.rows}
    assert [rows[f"jetson/{name}"].status for name in ("preflight", "build", "benchmark")] == ["skipped", "done", "skipped"]
    assert (rows["jetson/preflight"].why, rows["jetson/build"].why) == (WHY, f"files and commands only: {WHY}")
    assert (walk.folder / "run/jetson/build/student.onnx").read_text() == "a model"
    assert [one.verdict for one in rows["jetson/build"].judgements] == [Verdict.NOT_MEASURED]
    verdicts = target_verdicts(walked, load(walk.folder / "toy.yaml", [gate]))
    assert (verdicts[1].name, verdicts[1].verdict, verdicts[1].why) == ("jetson", Verdict.NOT_MEASURED, WHY)
    assert statuses(walk(gate))["jetson/build"] == "cached"


def test_what_was_prepared_is_not_taken_for_a_build_once_the_device_is_connected(walk, monkeypatch):
    walk()
    monkeypatch.setattr("edgekd.pipeline.keys.targets.why_not_measured", lambda specs, reach: {})
    before = len(walk.calls())
    connected = walk()
    assert walk.calls()[before:] == ["jetson/preflight", "jetson/build", "jetson/benchmark"]
    assert statuses(connected)["cpu/build"] == "cached"
