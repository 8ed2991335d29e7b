"""What a stage gets in a smoke run: a handful of images, every class among them where it can be, and next to no timing."""

import numpy as np

from edgekd import targets
from edgekd.recipe import Recipe, loads
from edgekd.stages import Context
from edgekd.stages.images import open_images
from edgekd.stages.on_target import plan_of
from edgekd.stages.smoke import shortened

RECIPE = """\
edgekd: 1
name: tried
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 4, batch_size: 20}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 4, batch_size: 64}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime}
gates:
  benchmark: {cpu: {latency_ms: {p99: {max: 5}}}}
"""


def test_a_smoke_run_sees_a_handful_of_images_of_every_class(tmp_path):
    recipe = shortened(loads(RECIPE, "tried.yaml", tmp_path))
    images = open_images(Context(recipe, tmp_path, smoke=True))
    assert images.counts == {"train": 60, "held_out": 64, "test": 64}
    for split in (images.train, images.held_out, images.test, images.calibration(recipe.quantize.calibration_images)):
        assert len(np.unique(split.labels)) == 10
    assert len(images.calibration(recipe.quantize.calibration_images)) == 32


def test_a_smoke_run_and_a_real_one_in_one_process_do_not_share_the_images_they_opened(tmp_path):
    recipe = loads(RECIPE, "tried.yaml", tmp_path)
    open_images(Context(shortened(recipe), tmp_path, smoke=True))
    assert open_images(Context(recipe, tmp_path)).counts["train"] > 1000


def test_a_smoke_run_times_one_round_and_a_real_one_what_its_gates_need(tmp_path):
    recipe = loads(RECIPE, "tried.yaml", tmp_path)
    tried = plan_of(Context(recipe, tmp_path, target="cpu", smoke=True), "benchmark")
    assert (tried, tried.rounds * tried.queries) == (targets.LEAST, 10)
    real = plan_of(Context(recipe, tmp_path, target="cpu"), "benchmark")
    assert real == targets.plan_for(recipe.gates_of("benchmark", "cpu"))


def test_the_teacher_takes_a_step_in_a_smoke_run_too_if_it_is_to_learn(tmp_path):
    for every, taken in ((4, True), (0, False)):
        asked = f"distill={{method: ffkd, epochs: 9, feedback_every: {every}, feedback_start: 0.9, feedback_stop: 0.95}}"
        short = shortened(loads(RECIPE, "tried.yaml", tmp_path, (asked,))).distill
        assert (short.feedback_every > 0 and short.feedback_comes(images=60)) is taken


def test_what_a_smoke_run_makes_of_a_valid_recipe_is_one_too(tmp_path):
    teachers = "teacher={weights: teacher.onnx}", "teacher={model: resnet18, epochs: 1, batch_size: 2}"
    for teacher, method in zip(teachers, ("kd", "ffkd"), strict=True):
        short = shortened(loads(RECIPE, "tried.yaml", tmp_path, (teacher, f"distill.method={method}")))
        assert Recipe.from_json(short.as_json()).as_json() == short.as_json()
