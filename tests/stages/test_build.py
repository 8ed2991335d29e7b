"""Build for a device that is not connected: the files it needs and what to do with them, and no number."""

import json

import pytest

from edgekd import targets
from edgekd.core import Outcome
from edgekd.recipe import loads
from edgekd.stages import Context, Input, build
from edgekd.stages.on_target import say_removed

RECIPE = """\
edgekd: 1
name: device
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets: {jetson: {device: DEVICE, runtime: tensorrt, precision: PRECISION}}
"""
FLAVOURS = ("fp32", "ort", "ort-w7", "trt", "fp16", "trt-fp16", "fp32-b1")


@pytest.mark.parametrize(
    ("device", "precision", "files"),
    [
        ("jetson-orin-nano-8gb", "int8+fp16", {"trt", "fp16", "trt-fp16", "fp32-b1"}),
        ("jetson-nano", "fp16", {"fp32-b1"}), ("jetson-tx2", "fp32", {"fp32-b1"}),
    ],
)  # fmt: skip
def test_an_unconnected_device_gets_the_files_of_its_precision_and_the_commands(tmp_path, device, precision, files):
    recipe = loads(RECIPE.replace("DEVICE", device).replace("PRECISION", precision), "device.yaml", tmp_path)
    exported = Context(recipe, tmp_path / "export")
    exported.folder.mkdir()
    for flavour in FLAVOURS:
        (exported.folder / f"student.{flavour}.onnx").write_text(flavour)
    outcome = Outcome(tuple(exported.keep(flavour, exported.folder / f"student.{flavour}.onnx") for flavour in FLAVOURS))
    folder = tmp_path / "step"
    folder.mkdir()
    made = build.run(Context(recipe, folder, {"export": Input(outcome, exported.folder)}, "jetson"))
    assert {one.kind for one in made.artifacts} == {*files, "build", "commands"}
    assert {path.name for path in folder.iterdir()} == {one.path for one in made.artifacts}
    assert all((folder / f"student.{flavour}.onnx").read_text() == flavour for flavour in files)
    assert made.measurements == () and "nothing was built" in made.notes["prepared"]
    document = json.loads((folder / "build.json").read_text())
    assert (document["measured"], document["device"]) == (False, device)
    assert {one["model"] for one in document["engines"]} == {f"student.{flavour}.onnx" for flavour in files}
    text = (folder / "ENGINES.txt").read_text()
    assert all(" ".join(one["command"]) in text for one in document["engines"])


def test_what_a_device_removed_for_new_engines_is_said_and_kept_in_the_notes(tmp_path):
    said = []
    recipe = loads(RECIPE.replace("DEVICE", "orin-nano").replace("PRECISION", "int8"), "device.yaml", tmp_path)
    context = Context(recipe, tmp_path, say=said.append)
    quiet = targets.Built(tmp_path, 0.1, 2.5, 70.0, [])
    full = targets.Built(tmp_path, 0.1, 2.5, 70.0, [], removed="the device removed 3 older engines")
    assert say_removed(context, {"fp32": quiet}) == {} and said == []
    assert say_removed(context, {"fp32": quiet, "int8": full}) == {"removed": "int8: the device removed 3 older engines"}
    assert said[0]["note"] == "int8: the device removed 3 older engines"
