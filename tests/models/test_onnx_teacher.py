"""A real ONNX file, exported by torch, answers in the place of the network it was exported from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgekd import export, models
from edgekd.core import InputError
from edgekd.models import OnnxTeacher, adopt_onnx

SIZE, CLASSES = 8, 4
SEEN = {"image_size": (SIZE, SIZE), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(6, CLASSES)).eval()


@pytest.fixture(scope="module")
def exported(network: nn.Module) -> onnx.ModelProto:
    return export.float_export(network, (SIZE, SIZE))


Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def written(exported: onnx.ModelProto, tmp_path: Path) -> Callable[..., Path]:
    def written(change: Change = lambda model: None) -> Path:
        model = onnx.ModelProto()
        model.CopyFrom(exported)
        change(model)
        path = tmp_path / "given.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return written


@pytest.fixture
def teacher(written: Callable[..., Path], tmp_path: Path) -> Callable[..., OnnxTeacher]:
    def teacher(change: Change = lambda model: None, *, normalization=None, seen=SEEN, classes: int = CLASSES) -> OnnxTeacher:
        given, adopted = written(change), tmp_path / "teacher.onnx"
        adopt_onnx(given, adopted, normalization=normalization)
        return OnnxTeacher(adopted, classes=classes, preprocessing=seen, given=given)

    return teacher


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def then(op: str, *outputs: str, **attributes: object) -> Change:
    """The logits go through one more node."""

    def change(model: onnx.ModelProto) -> None:
        name = model.graph.output[0].name
        domain = attributes.pop("domain", "")
        model.graph.node.append(helper.make_node(op, [name], ["last"], domain=domain, **attributes))
        model.graph.output[0].name = "last"
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def with_axis(axis: int, size: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size

    return change


def test_it_answers_as_the_network_does_whatever_the_images_memory_and_precision(network, teacher) -> None:
    answers = teacher()
    with torch.no_grad():
        expected = network(images())
        torch.testing.assert_close(answers(images()), expected, rtol=1e-5, atol=1e-5)
        spread = images().to(memory_format=torch.channels_last)
        assert torch.equal(answers(spread), answers(images()))
        halves = images().bfloat16()
        torch.testing.assert_close(answers(halves), network(halves.float()), rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(answers(images()), answers(spread))
    assert answers.gives_probabilities is False


def test_no_gradient_comes_out_of_it_and_it_has_nothing_to_train_fold_or_count(teacher) -> None:
    answers = teacher()
    wanted = images().requires_grad_()
    assert answers(wanted).requires_grad is False
    assert list(answers.parameters()) == [] and models.count_parameters(answers) == 0
    assert models.fold_for_inference(answers) is answers
    together = models.logits(answers, [(images(), torch.zeros(5)), (images(3), torch.zeros(3))])
    assert together.shape == (8, CLASSES)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_file_of_a_fixed_batch_answers_any_number_of_images(network, teacher, count: int) -> None:
    answers = teacher(with_axis(0, 2))
    with torch.no_grad():
        torch.testing.assert_close(answers(images(count)), network(images(count)), rtol=1e-5, atol=1e-5)


def test_images_are_normalised_again_as_the_file_wants_them(network, teacher) -> None:
    own = ((0.1, 0.2, 0.3), (0.5, 0.5, 1 / 255))  # 1/255: pixels from 0 to 255, as some frameworks want them
    pixels = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))

    def normalised(mean, std) -> torch.Tensor:
        return (pixels - torch.tensor(mean)[None, :, None, None]) / torch.tensor(std)[None, :, None, None]

    answers = teacher(normalization=own)
    with torch.no_grad():
        expected = network(normalised(*own))
        torch.testing.assert_close(answers(normalised(SEEN["mean"], SEEN["std"])), expected, rtol=1e-4, atol=1e-4)
        same = teacher(normalization=(SEEN["mean"], SEEN["std"]))
        assert torch.equal(same(images()), teacher()(images()))


def test_the_copy_says_what_it_takes_and_what_an_older_copy_said_is_forgotten(written, tmp_path: Path) -> None:
    first, second, again = (tmp_path / name for name in ("1.onnx", "2.onnx", "again.onnx"))
    adopt_onnx(written(), first, normalization=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    adopt_onnx(written(), again, normalization=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert first.read_bytes() == again.read_bytes()
    adopt_onnx(first, second, normalization=None)
    said = [{one.key: one.value for one in onnx.load(path).metadata_props} for path in (first, second)]
    assert json.loads(said[0]["edgekd.normalization"]) == {"mean": [0, 0, 0], "std": [1, 1, 1]}
    assert "edgekd.normalization" not in said[1]


def test_probabilities_are_found_out_and_answered_as_logits(network, teacher) -> None:
    answers = teacher(then("Softmax", axis=1))
    assert answers.gives_probabilities is True
    with torch.no_grad():
        logits, expected = answers(images()), network(images())
    torch.testing.assert_close(logits - logits[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4)
    assert teacher(then("LogSoftmax", axis=1)).gives_probabilities is False  # are logits already


def swapped_axes(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Transpose", ["images"], [model.graph.input[0].name], perm=[0, 3, 1, 2]))
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", SIZE, SIZE, 3]))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", [model.graph.output[0].name], ["twice"]))
    model.graph.output.append(helper.make_tensor_value_info("twice", TensorProto.FLOAT, None))


def best_class(model: onnx.ModelProto) -> None:
    then("ArgMax", axis=1)(model)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("last", TensorProto.INT64, None))


def not_a_number(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32([np.nan]), "nan"))
    model.graph.node.append(helper.make_node("Mul", [model.graph.output[0].name, "nan"], ["last"]))
    model.graph.output[0].name = "last"


def one_image_at_a_time(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, CLASSES]), "one_row"))
    model.graph.node.append(helper.make_node("Reshape", [model.graph.output[0].name, "one_row"], ["last"], name="head/" * 60))
    model.graph.output[0].name = "last"


def bytes_in(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Cast", ["pixels"], [model.graph.input[0].name], to=TensorProto.FLOAT))
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 3, SIZE, SIZE]))


@pytest.mark.parametrize(
    ("change", "what", "seen"),
    [
        (swapped_axes, "has one float32 input", "images tensor(float) ['N', 8, 8, 3]"),
        (second_input, "has one float32 input", "other tensor(float) [1]"),
        (bytes_in, "has one float32 input", "tensor(uint8)"),
        (second_output, "has one output", "twice"),
        (best_class, "has one output", "last tensor(int64)"),
        (then("Unsqueeze"), "refuses", "Unsqueeze"),
        (then("ReduceMean", keepdims=1), "one row of 4 numbers", "[1, 1] for 4 images"),
        (not_a_number, "not all finite", "4 of 4 rows"),
        (then("Mystery", domain="some.library"), "refuses", "Mystery"),
        (then("Mystery", name="backbone/" * 60), "refuses", "No Op registered for Mystery"),
        (
            one_image_at_a_time,
            "cannot run",
            "cannot be reshaped to the requested shape. Input shape:{4,4}, requested shape:{1,4}",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_that_is_no_classifier_of_images_is_refused_in_words(teacher, change: Change, what: str, seen: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        teacher(change)
    assert caught.value.where.endswith("given.onnx") and seen in caught.value.seen


def test_other_classes_and_other_sizes_are_refused_with_what_to_do(teacher) -> None:
    with pytest.raises(InputError, match="one row of 10 numbers, one a class") as caught:
        teacher(classes=10)
    assert caught.value.seen == "[4, 4] for 4 images"
    with pytest.raises(InputError, match=r"another size than data\.image_size, 16 × 12") as caught:
        teacher(seen={**SEEN, "image_size": (16, 12)})
    assert "set data.image_size" in caught.value.fix

    def any_size(model: onnx.ModelProto) -> None:
        for axis in (2, 3):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"

    assert teacher(any_size, seen={**SEEN, "image_size": (16, 12)})(torch.zeros(2, 3, 16, 12)).shape == (2, CLASSES)


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[: len(content) // 2], lambda content: b"PK" * 99]
)
def test_a_damaged_file_is_refused(written, tmp_path: Path, damage) -> None:
    path = written()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"not an ONNX file|refuses the ONNX file") as caught:
        adopt_onnx(path, tmp_path / "teacher.onnx", normalization=None)
    assert (caught.value.where, (tmp_path / "teacher.onnx").exists()) == (str(path), False)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such weights file"):
        adopt_onnx(tmp_path / "absent.onnx", tmp_path / "teacher.onnx", normalization=None)


@pytest.mark.parametrize("place", ["weights.bin", "../elsewhere/weights.bin"])
def test_weights_in_a_second_file_are_never_read(exported, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "given"
    for below in (folder, tmp_path / "elsewhere"):
        below.mkdir()
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (folder / place).write_bytes(largest.raw_data)
    largest.ClearField("raw_data")
    largest.data_location = TensorProto.EXTERNAL
    largest.external_data.add(key="location", value=place)
    path = folder / "given.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="weights are in a second file") as caught:
        adopt_onnx(path, tmp_path / "teacher.onnx", normalization=None)
    assert (caught.value.where, caught.value.seen) == (str(path), place)
    assert "onnx.save(onnx.load('given.onnx'), 'whole.onnx')" in caught.value.fix
    assert not (tmp_path / "teacher.onnx").exists()


def test_a_trial_that_copies_its_networks_copies_this_one_too(teacher: Callable[..., OnnxTeacher], network: nn.Module) -> None:
    images, asked = torch.rand(3, 3, SIZE, SIZE), teacher()
    together = copy.deepcopy(nn.ModuleList([asked, network]))
    assert torch.equal(together[0](images), asked(images))
