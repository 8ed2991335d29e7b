"""The teacher as its stage leaves it, a network or an ONNX file, and what the later stages learn from either."""

import json
from dataclasses import replace

import pytest
import torch
from small_chain import RECIPE

from edgekd import data, distill, export, models
from edgekd.core import Artifact, InputError, Measurement, Outcome, share
from edgekd.pipeline.chain import STAGES, Step
from edgekd.pipeline.keys import key_of, key_parts
from edgekd.recipe import loads
from edgekd.stages import distill as distil
from edgekd.stages import exam, quantize, smoke, teacher
from edgekd.stages.context import Context, Input
from edgekd.stages.images import open_images
from edgekd.stages.networks import earlier_network

SMALL = (
    "data.image_size=16", "student.model=resnet18", "student.width=0.125", "compute.threads=1", "compute.device=cpu",
    "distill={method: kd, epochs: 1, ce_weight: 0, kd_weight: 1}",
)  # fmt: skip
BY_ONNX = "teacher={weights: teacher.onnx}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One untrained network, as a file of ours and as an ONNX file."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    network = models.create("resnet18", classes=10, image_size=16, width=0.125).eval()
    models.save(network, folder / "teacher.safetensors")
    (folder / "teacher.onnx").write_bytes(export.float_export(network, (16, 16)).SerializeToString())
    return folder


@pytest.fixture(scope="module")
def context(folder, tmp_path_factory):
    def context(*overrides, **inputs):
        recipe = smoke.shortened(loads(RECIPE, "small.yaml", folder, (*SMALL, *overrides)))
        return Context(recipe, tmp_path_factory.mktemp("made"), inputs, smoke=True)

    return context


@pytest.fixture(scope="module")
def made(context):
    """Stage teacher, by the kind of its file: what the next stages are given."""

    def made(given):
        room = context(given)
        return Input(teacher.run(room), room.folder)

    kinds = {"onnx": BY_ONNX, "safetensors": "teacher={model: resnet18, width: 0.125, weights: ./teacher.safetensors}"}
    return {kind: made(given) for kind, given in kinds.items()}


def batches(room):
    images = open_images(room)
    return data.Batches(images.train, batch_size=16, preprocessing=images.preprocessing, hflip=False, seed=0)


def values(outcome):
    return {one.name: one.value for one in outcome.measurements}


def test_an_onnx_teacher_is_copied_and_measured_as_the_network_it_was_exported_from(made):
    outcome = made["onnx"].outcome
    assert [(one.kind, one.path) for one in outcome.artifacts] == [("teacher", "teacher.onnx")]
    assert values(outcome) == pytest.approx(values(made["safetensors"].outcome), abs=1e-5)
    assert outcome.notes["output"] == "logits" and "parameters" not in outcome.notes
    assert made["safetensors"].outcome.notes["parameters"] > 0


def test_a_students_loss_and_gradient_are_those_of_the_exported_network_up_to_rounding(context, made):
    views, labels = next(iter(batches(context(BY_ONNX))))
    learned = {}
    for kind, given in made.items():
        network = earlier_network(context(BY_ONNX, teacher=given), "teacher", "teacher", torch.device("cpu"))
        torch.manual_seed(1)
        student = models.create("resnet18", classes=10, image_size=16, width=0.125).train()
        with torch.no_grad():
            answers = network(views["weak"].contiguous(memory_format=torch.channels_last))
        batch = distill.Batch(labels, {"weak": student(views["weak"])}, {"weak": answers}, 1.0)
        loss = distill.KD().student_loss(batch)["kd"]
        loss.backward()
        learned[kind] = loss.detach(), torch.cat([weight.grad.flatten() for weight in student.parameters()])
    for of_file, of_network in zip(learned["onnx"], learned["safetensors"], strict=True):
        assert (of_file - of_network).norm() <= 1e-4 * of_network.norm() and of_network.norm() > 0


def test_the_distill_stage_learns_from_an_onnx_file_as_from_its_network(context, made):
    losses, drops = {}, {}
    for kind, given in made.items():
        room = context(BY_ONNX, teacher=given)
        drops[kind] = values(distil.run(room))["top1_drop"]
        losses[kind] = json.loads((room.folder / "curves.json").read_text())["epochs"][0]["losses"]
    assert losses["onnx"] == pytest.approx(losses["safetensors"], rel=0.01)  # three steps in which rounding grows
    assert losses["onnx"]["kd"] > 0 and drops["onnx"] == pytest.approx(drops["safetensors"], abs=0.1)


def test_quantizing_learns_from_an_onnx_teacher_beside_the_student(context, made, folder):
    student = Input(Outcome((Artifact.of("student", folder / "teacher.safetensors", folder),)), folder)
    room = context(BY_ONNX, "quantize.mode=qat", "quantize.distill=both", teacher=made["onnx"], distill=student)
    assert quantize.run(room).notes["qat"]["learns_from"] == "both"


def test_the_exam_of_an_onnx_teacher_is_that_of_its_network(context, made):
    onnx, network = (exam.teacher(context(BY_ONNX, teacher=given)) for given in (made["onnx"], made["safetensors"]))
    assert onnx.measurements[0].right == network.measurements[0].right != ""
    assert onnx.measurements[0].conditions["images"] == "test"


def test_the_onnx_files_own_normalization_travels_with_it(context):
    room = context("teacher={weights: teacher.onnx, normalization: imagenet}")
    outcome = teacher.run(room)
    network = models.OnnxTeacher(room.folder / "teacher.onnx", classes=10, preprocessing=open_images(room).preprocessing)
    assert not torch.allclose(network.scale, torch.ones(1))
    given = context("teacher={weights: teacher.onnx, normalization: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}")
    assert values(teacher.run(given)) == values(outcome)


def test_bytes_and_normalization_of_an_onnx_teacher_are_in_the_keys(folder, tmp_path):
    def keys(content, normalization="null"):
        (tmp_path / "teacher.onnx").write_bytes(content)
        by_onnx = f"teacher={{weights: teacher.onnx, normalization: {normalization}}}"
        recipe = loads(RECIPE, "small.yaml", tmp_path, (*SMALL, by_onnx))
        return key_of(key_parts(Step(STAGES["teacher"]), recipe, {}, data="d", device=None))

    content = (folder / "teacher.onnx").read_bytes()
    assert keys(content) == keys(content)
    assert len({keys(content), keys(content + b"\x00"), keys(content, "imagenet")}) == 3


def test_a_method_that_trains_its_teacher_refuses_one_without_parameters(made):
    class Adapting(distill.Label):
        teacher_learns = True

    frozen = models.OnnxTeacher(
        made["onnx"].path("teacher"), classes=10, preprocessing={"image_size": (16, 16), "mean": (0.5,) * 3, "std": (0.2,) * 3}
    )
    with pytest.raises(InputError, match="no parameter to train"):
        distill.fit(torch.nn.Linear(1, 1), Adapting(), [], evaluate=None, epochs=1, learning_rate=0.1, teacher=frozen)


@pytest.mark.parametrize(
    ("right", "classes", "warned"), [(18, 10, True), (20, 10, False), (54, 2, True), (60, 2, False), (0, 1000, True)]
)
def test_a_ready_made_teacher_that_hardly_beats_guessing_is_told(right, classes, warned):
    doubts = teacher._doubts(share("top1", [True] * right + [False] * (100 - right)), classes)
    assert bool(doubts) is warned
    if warned:
        assert f"{right / 100:.3f} of the held-out images, guessing {1 / classes:.3f}" in doubts["warning"]
        assert "teacher.normalization" in doubts["warning"]


def test_no_image_at_all_is_no_doubt():
    assert teacher._doubts(Measurement("top1", None, "fraction", 0), 10) == {}


RESNET = "student={model: resnet18, width: 0.125}"


@pytest.mark.parametrize(
    ("overrides", "what", "where"),
    [
        (("distill={method: ffkd, epochs: 1, taps: [[layer9, layer4]]}",), "teacher has no module 'layer9'", "distill.taps"),
        (("distill={method: channel, epochs: 1, taps: [[layer4, layr4]]}",), "student has no module 'layr4'", "distill.taps"),
        (("distill={method: channel, epochs: 1, taps: [[layer4, fc]]}",), "module 'fc' of the student gives no map", "taps"),
        (("student={model: mobilenet_v2, weights: ./teacher.safetensors}",), "the weights do not fit", "teacher.safetensors"),
    ],
)
def test_what_would_stop_the_distillation_is_told_before_a_teacher_is_trained(
    context, folder, monkeypatch, overrides, what, where
):
    def trained(*_, **__):
        raise AssertionError("the teacher was trained")

    monkeypatch.setattr(teacher, "train", trained)
    room = context("teacher={model: resnet18, width: 0.125, epochs: 1}", RESNET, *overrides)
    with pytest.raises(InputError, match=what) as caught:
        teacher.run(room)
    assert where in caught.value.where


def test_a_walk_that_ends_with_the_teacher_asks_nothing_of_the_distillation(context, folder, monkeypatch):
    class TrainedError(Exception):
        pass

    def trained(*_, **__):
        raise TrainedError

    monkeypatch.setattr(teacher, "train", trained)
    wrong = "distill={method: channel, epochs: 1, taps: [[layer9, layer4]]}"
    room = context("teacher={model: resnet18, width: 0.125, epochs: 1}", RESNET, wrong)
    with pytest.raises(TrainedError):
        teacher.run(replace(room, last=True))
