"""What the distill stage leaves of a teacher that learned from its student."""

from __future__ import annotations

import json

import pytest
import torch
from small_chain import RECIPE

from edgekd import distill as methods
from edgekd import models
from edgekd.core import InputError
from edgekd.recipe import loads
from edgekd.stages import distill, teacher
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context, Input
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images

SMALL = (
    "data.image_size=16", "data.train_per_class=30", "compute.threads=1", "compute.device=cpu",
    "student={model: resnet18, width: 0.125}",
    "teacher={model: resnet18, width: 0.125, weights: ./teacher.safetensors}",
)  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """The stage's outcome and context, by a distill section; the teacher is untrained, and has a lot to learn."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    models.save(models.create("resnet18", classes=10, image_size=16, width=0.125), folder / "teacher.safetensors")

    def run(section):
        def context(**inputs):
            recipe = loads(RECIPE, "small.yaml", folder, (*SMALL, f"distill={section}"))
            return Context(recipe, tmp_path_factory.mktemp("made"), inputs)

        first = context()
        room = context(teacher=Input(teacher.run(first), first.folder))
        return distill.run(room), room

    return run


def test_the_improved_teacher_is_a_file_with_its_accuracy_before_and_after(stage):
    outcome, room = stage("{method: ffkd-adapt, epochs: 2, batch_size: 32, feedback_start: 0, feedback_learning_rate: 1}")
    measured = {one.name: one for one in outcome.measurements}
    (path,) = (room.folder / one.path for one in outcome.artifacts if one.kind == "improved_teacher")
    labels = open_images(room).held_out.labels
    before, after = (
        right(held_out_logits(room, network), labels)
        for network in (models.load_saved(room.input("teacher").path("teacher")), models.load_saved(path))
    )
    gain = measured["improved_teacher.top1_gain"]
    assert measured["improved_teacher.top1"].value == pytest.approx(sum(after) / len(after))
    assert gain.value == pytest.approx((sum(after) - sum(before)) / len(after))
    assert gain.value > 0
    assert gain.low < gain.value < gain.high
    told = outcome.notes["improved_teacher"]
    assert (told["top1_before"], told["top1_after"]) == (sum(before) / len(before), sum(after) / len(after))
    assert told["worth_it"].startswith("in the first epoch ")
    assert told["worth_it"].endswith("of use")
    assert told["chosen"].startswith("the best one seen")
    student = measured["top1"].value
    assert measured["top1_drop"].value == pytest.approx(sum(before) / len(before) - student)  # of the teacher as it came
    curves = json.loads((room.folder / "curves.json").read_text())
    assert max(epoch.get("teacher_top1", 0) for epoch in curves["epochs"]) == pytest.approx(told["top1_after"])


def test_without_rollback_the_last_teacher_is_left_and_the_notes_say_so(stage):
    outcome, room = stage("{method: ffkd-public, taps: [], epochs: 2, batch_size: 64, feedback_learning_rate: 1}")
    told = outcome.notes["improved_teacher"]
    seen = [epoch["teacher_top1"] for epoch in json.loads((room.folder / "curves.json").read_text())["epochs"]]
    assert told["chosen"].startswith("the last one")
    assert told["top1_after"] == pytest.approx(seen[-1])


def test_a_teacher_that_feedback_left_without_finite_numbers_is_an_error_and_no_result(stage):
    with pytest.raises(InputError, match="teacher's training diverged") as failed:
        stage("{method: ffkd-public, epochs: 2, batch_size: 64, feedback_learning_rate: 1.0e+6}")
    assert failed.value.fix == "lower feedback_learning_rate (now 1e+06), or feedback_rollback: true"


def test_a_teacher_that_is_not_asked_to_learn_leaves_no_improved_one(stage):
    outcome, _ = stage("{method: ffkd, epochs: 2, batch_size: 512, feedback_every: 0}")
    assert [one.kind for one in outcome.artifacts] == ["student", "curves"]
    assert [one.name for one in outcome.measurements] == ["top1", "top1_drop"]
    assert outcome.notes["training"]["images"] == {"student": 600, "teacher": 600}  # 300 a batch, all there are
    assert outcome.notes["taps"][-1] == ["layer2", "layer2"] and "warning" not in outcome.notes


def test_a_method_that_found_no_maps_to_compare_says_so():
    assert "no feature maps were compared" in distill._compared(methods.Channel())["warning"]
    assert distill._compared(methods.Channel(taps=())) == distill._compared(methods.KD()) == {}


@torch.no_grad()
def test_a_module_of_the_teacher_that_taps_name_gives_what_it_gave_when_the_teacher_was_trained():
    network, images = models.create("cifar_resnet8x4", classes=3, image_size=32).eval(), torch.rand(2, 3, 32, 32)
    network.bn1.bias.fill_(1.0)
    taught = distill._teaching(methods.create("channel", taps=(("conv1", "conv1"),)), network)
    assert torch.equal(taught.conv1(images), network.conv1(images))
    assert getattr(distill._teaching(methods.create("channel"), network), "edgekd_folded", False)
