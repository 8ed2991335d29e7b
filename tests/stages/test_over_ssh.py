"""The stages of a device, run on one behind a real ssh: the same files and numbers as on this machine."""

import sys

import numpy as np
import tiny_models as TINY
from PIL import Image
from sshd import NAME

from edgekd import targets
from edgekd.core import Outcome
from edgekd.recipe import loads
from edgekd.stages import Context, Input, benchmark, build

RECIPE = """\
edgekd: 1
name: device
data: {source: imagefolder, path: images, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime}
  board: {device: linux, runtime: onnxruntime, python: PYTHON}
"""


def write_images(folder):
    """Noise, of the four classes that the tiny models tell apart."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 6)):
        for label in range(4):
            place = folder / split / f"class {label}"
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{number}.png")


def test_build_and_benchmark_on_a_device_elsewhere_are_those_of_this_machine_bit_for_bit(sshd, tmp_path):
    recipe = loads(RECIPE.replace("PYTHON", sys.executable), "device.yaml", tmp_path)
    write_images(tmp_path / "images")
    reach = targets.reach_of(recipe.targets, [f"board={NAME}"], sshd.config, environment={})
    made = Context(recipe, tmp_path / "export")
    made.folder.mkdir()
    models = {
        "fp32": TINY.float_model(made.folder / "fp32.onnx"),
        "ort": TINY.int8_model(made.folder / "ort.onnx", 127),
        "ort-w7": TINY.int8_model(made.folder / "ort-w7.onnx", 63, **{"edgekd.weight_bits": "7"}),
    }
    export = Input(Outcome(tuple(made.keep(kind, path) for kind, path in models.items())), made.folder)
    found = {}
    for target in ("cpu", "board"):
        inputs = {"export": export}
        for stage in (build, benchmark):
            folder = tmp_path / target / stage.__name__
            folder.mkdir(parents=True)
            outcome = stage.run(Context(recipe, folder, inputs, target, smoke=True, reach=reach))
            inputs[f"{target}/{stage.__name__.rpartition('.')[2]}"] = Input(outcome, folder)
        logits = {one.kind: np.load(folder / one.path) for one in outcome.artifacts if one.kind.startswith("logits_")}
        found[target] = ({one.name: one.value for one in outcome.measurements if one.unit == "share"}, logits)
    (here, logits_here), (there, logits_there) = found.values()
    assert here == there and set(logits_here) == set(logits_there) >= {"logits_int8", "logits_fp32"}
    assert all(np.array_equal(logits_here[kind], logits_there[kind]) for kind in logits_here)
    assert not sshd.agents()
