"""The plan of ``check``: which steps are cached, which are to do, and nothing is touched."""

import pytest
from PIL import Image

from edgekd.core import InputError, Measurement, Outcome, RecipeError
from edgekd.pipeline import Control, Runner, Store, make_plan
from edgekd.pipeline.chain import STAGES, Step, needed_steps, steps
from edgekd.pipeline.keys import Keys, key_of
from edgekd.pipeline.ready import require_enough_images
from edgekd.recipe import loads

RECIPE = """\
edgekd: 1
name: plan
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 3, batch_size: 100}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
quantize: {calibration_images: 64}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime}
  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: fp16, required: when-connected}
gates: {benchmark: {cpu: {latency_ms: {p90: {max: 5}}}}}
"""
IDENTITY = {"arch": "x86_64", "isa": ["avx2"]}
CALM = Measurement("latency_ms.p90", 1.0, "ms", 600, 0.9, 1.1)


def planned(tmp_path, monkeypatch, outcome=None, *overrides):
    """The plan, after the steps up to benchmark were stored as ``overrides`` of the recipe make them; statuses by step."""
    monkeypatch.setattr(Keys, "_identity", lambda keys, target: IDENTITY)
    recipe, store = loads(RECIPE, "plan.yaml", tmp_path), Store(tmp_path / "store")
    if outcome is not None:
        made_for = loads(RECIPE, "plan.yaml", tmp_path, overrides)
        keys, outcomes = Keys(made_for, None), {}
        for step in steps(("cpu",), "benchmark"):
            outcomes[step] = outcome if step.stage.name == "benchmark" else Outcome()
            parts = keys.parts(step, {need.name: outcomes[need] for need in needed_steps(step, ("cpu",))})
            with store.new_folder(key_of(parts)) as folder:
                store.commit(key_of(parts), folder, outcomes[step], 1.0, parts)
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    plan = make_plan(recipe, store.folder)
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before
    return plan, {step.name: step.status for step in plan.steps}


def test_with_an_empty_store_all_is_to_do_but_what_cannot_be_measured(tmp_path, monkeypatch):
    plan, statuses = planned(tmp_path, monkeypatch)
    assert {name for name, status in statuses.items() if status == "not measured"} == {"jetson/preflight", "jetson/benchmark"}
    assert set(statuses.values()) == {"to do", "not measured"}
    costs = {step.name: step.cost for step in plan.steps}
    assert costs["teacher"].startswith("3 epochs of ")
    assert costs["quantize"] == "64 calibration images"
    assert all(step.why for step in plan.steps if step.status == "not measured")


@pytest.mark.parametrize(
    ("mode", "cost"),
    [
        ("ptq", "64 calibration images"),
        ("qat", "64 calibration images, 2 epochs of 20 steps of 64 images"),
        ("auto", "64 calibration images; 2 epochs of 20 steps of 64 images if a gate asks for them"),
    ],
)
def test_the_cost_of_quantization_tells_of_a_training_that_is_asked_for(tmp_path, mode, cost):
    recipe = loads(RECIPE, "plan.yaml", tmp_path, [f"quantize.mode={mode}"])
    costs = {step.name: step.cost for step in make_plan(recipe, tmp_path / "store").steps}
    assert costs["quantize"] == cost


def test_what_the_store_holds_is_cached(tmp_path, monkeypatch):
    _, statuses = planned(tmp_path, monkeypatch, Outcome(measurements=(CALM,)))
    assert {name for name, status in statuses.items() if status == "cached"} == {
        "sketch", "cpu/preflight", "teacher", "distill", "quantize", "export", "cpu/build", "cpu/benchmark",
    }  # fmt: skip
    assert statuses["bundle"] == "to do"


def test_what_comes_after_a_step_to_do_is_to_do(tmp_path, monkeypatch):
    _, statuses = planned(tmp_path, monkeypatch, Outcome(measurements=(CALM,)), "distill.epochs=9")
    assert (statuses["teacher"], statuses["distill"], statuses["cpu/benchmark"]) == ("cached", "to do", "to do")


def test_a_gated_latency_under_suspect_conditions_is_measured_again(tmp_path, monkeypatch):
    suspect = Measurement("latency_ms.p90", 1.0, "ms", 600, suspect=("other work ran",))
    assert planned(tmp_path / "a", monkeypatch, Outcome(measurements=(suspect,)))[1]["cpu/benchmark"] == "to do"
    ungated = Measurement("latency_ms.p50", 1.0, "ms", 600, suspect=("other work ran",))
    assert planned(tmp_path / "b", monkeypatch, Outcome(measurements=(CALM, ungated)))[1]["cpu/benchmark"] == "cached"


def test_gates_that_the_images_cannot_settle_are_named(tmp_path):
    gate = "gates.distill={top1: {min: 0.999, confidence: 0.95}}"
    recipe = loads(RECIPE, "plan.yaml", tmp_path, [gate])
    (reason,) = make_plan(recipe, tmp_path / "store").unsettled
    assert reason.startswith("distill: ")


def test_every_step_of_the_chain_is_planned_in_order(tmp_path):
    plan = make_plan(loads(RECIPE, "plan.yaml", tmp_path), tmp_path / "store")
    assert [step.name for step in plan.steps] == [step.name for step in steps(("cpu", "jetson"))]
    assert Step(STAGES["build"], "cpu").name == "cpu/build"


@pytest.mark.parametrize(
    ("distill", "data", "what"),
    [
        ("{method: ffkd, epochs: 1, feedback_every: 50}", "{source: digits, image_size: 8}", "feedback never comes"),
        ("{method: ffkd, epochs: 4, feedback_start: 0.99, feedback_stop: 1}", "{source: digits, image_size: 8}", "never comes"),
        ("{method: ffkd, epochs: 1}", "{source: imagefolder, path: few, image_size: 8, train_per_class: 1}", "at least 4 images"),
    ],
)
def test_a_training_that_its_images_do_not_allow_is_told_by_check_and_by_a_run_before_anything_is_made(
    tmp_path, distill, data, what
):
    for number, name in enumerate("abcdefghijkl"):
        (tmp_path / "few" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(tmp_path / "few" / "ab"[number % 2] / f"{name}.png")
    recipe = loads(RECIPE, "plan.yaml", tmp_path, (f"distill={distill}", f"data={data}"))
    with pytest.raises(InputError, match=what):
        make_plan(recipe, tmp_path / "store")
    walk = Runner(recipe, tmp_path / "run", Store(tmp_path / "store"), lambda event: None, Control()).walk()
    assert what in str(walk.error) and not list((tmp_path / "run").glob("*/*"))
    require_enough_images(recipe, 2, {"sketch", "preflight"})  # which train nothing


@pytest.mark.parametrize("stage", ["teacher", "distill", "quantize"])
def test_devices_that_cannot_part_all_the_images_there_are_are_told_before_anything_trains(stage, tmp_path):
    overrides = ("compute.devices=4", "teacher.batch_size=64", "quantize.mode=qat", f"{stage}.batch_size=128")
    recipe = loads(RECIPE, "plan.yaml", tmp_path, overrides)
    with pytest.raises(InputError, match=f"one batch of {stage}") as refused:
        require_enough_images(recipe, 70, {"teacher", "distill", "quantize"})
    assert refused.value.fix == "a multiple of 4 that is at most 70, or another compute.devices"
    require_enough_images(recipe, 200, {"teacher", "distill", "quantize"})


@pytest.mark.parametrize("changes", [("fit.width=[2, 0.35, 1]",), ()], ids=["a written ladder", "the one that is not written"])
def test_a_width_that_the_family_does_not_have_is_refused_before_any_rung_is_asked(tmp_path, changes):
    bound = "gates={benchmark: {cpu: {latency_ms: {p90: {max: 5}}}}}"
    student = "student={model: shufflenet_v2_x1_0, width: auto}"
    recipe = loads(RECIPE, "plan.yaml", tmp_path, [bound, student, *changes])
    with pytest.raises(RecipeError, match="ShuffleNetV2 has no such width") as refused:
        make_plan(recipe, tmp_path / "store")
    assert refused.value.fix == "shufflenet_v2_x1_0 takes width 0.5, 1, 1.5, 2"
    make_plan(loads(RECIPE, "plan.yaml", tmp_path, [bound, student, "fit.width=[2, 0.5, 1]"]), tmp_path / "store")
