"""The bundle of a TensorRT target: with the engine where ``build`` made one, with files and commands where it could not."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
import tiny_models as tiny
from PIL import Image

from edgekd import targets
from edgekd.core import Artifact, Outcome
from edgekd.device import Problem, load, normalize, onnxrt
from edgekd.recipe import loads
from edgekd.stages import Context, Input, build, bundle

RECIPE = """\
edgekd: 1
name: device
data: {source: imagefolder, path: images, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: int8+fp16}
  nx: {device: jetson-orin-nx-16gb, runtime: tensorrt, precision: fp16}
"""
IDENTITY = {"machine": "secret", "module": "p3767-0003", "compute_capability": "8.7"}
PATH = "models/jetson/student.int8-fp16.engine"
FLAVOURS = ("fp32", "ort", "ort-w7", "trt", "fp16", "trt-fp16", "fp32-b1")


@pytest.fixture
def context(tmp_path):
    """Makes the context of a step of a run with real images, whose export has tiny models."""
    recipe = loads(RECIPE, "device.yaml", tmp_path)
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 6)):
        for label in range(4):
            place = tmp_path / "images" / split / f"class {label}"
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{number}.png")
    exported = Context(recipe, tmp_path / "export")
    exported.folder.mkdir()
    for flavour in FLAVOURS:
        path = exported.folder / f"student.{flavour}.onnx"
        tiny.float_model(path, batch="N" if flavour in ("fp32", "ort", "ort-w7") else 1, **{"edgekd.flavour": flavour})
    tiny.symmetric_model(exported.folder / "student.trt.onnx")  # of another net, so that it is seen whose answers are golden
    files = tuple(exported.keep(flavour, exported.folder / f"student.{flavour}.onnx") for flavour in FLAVOURS)
    nothing = Input(Outcome(()), tmp_path)
    inputs = {"export": Input(Outcome(files), exported.folder), **dict.fromkeys(("teacher", "distill", "quantize"), nothing)}

    def make(step, target=None, **more):
        folder = tmp_path / "steps" / step
        folder.mkdir(parents=True)
        reach = targets.reach_of(recipe.targets, ["jetson=anywhere"], environment={})
        return Context(recipe, folder, {**inputs, **more}, target, reach=reach)

    return make


class Device:
    """Builds engines that have a header and no more."""

    def __init__(self, folder, version):
        self.folder, self.version = folder, version

    def probe(self):
        return {"identity": {**IDENTITY, "tensorrt": self.version}}

    def build(self, models):
        made = {}
        for name in models:
            engine = self.folder / f"{name}.plan"
            header = bytes(int(one) for one in self.version.split("."))
            engine.write_bytes(b"ftrt" + bytes(20) + header + name.encode() * 9)
            made[name] = targets.Built(engine, 1.0, 1.0, None, [], "PASSED")
        return made


@pytest.fixture
def built(context, tmp_path, monkeypatch):
    """Runs the step ``build`` of the connected target, then ``bundle``: its folder and outcome."""

    def run(version="10.3.0.30"):
        @contextmanager
        def connect(target, reach):
            yield Device(tmp_path, version)

        monkeypatch.setattr(targets, "connect", connect)
        step = context("jetson/build", "jetson")
        made = build.run(step)
        whole = context("bundle", **{"jetson/build": Input(made, step.folder)})
        return whole.folder, bundle.run(whole)

    return run


@pytest.mark.parametrize(("version", "flavour"), [("10.3.0.30", "trt"), ("10.13.3.9", "trt-fp16")])
def test_the_engine_the_target_runs_is_in_the_bundle_with_what_it_was_built_from_and_no_yardstick(built, version, flavour):
    folder, outcome = built(version)
    (engine,) = json.loads((folder / "manifest.json").read_text())["engines"]
    assert (engine["path"], engine["flavour"], engine["precision"], engine["tensorrt"]) == (PATH, flavour, "int8+fp16", version)
    assert (engine["device"], engine["module"], engine["compute_capability"]) == ("jetson-orin-nano-8gb", "p3767-0003", "8.7")
    kept = {one.path: one.sha256 for one in outcome.artifacts}
    assert (kept[PATH], kept[f"models/student.{flavour}.onnx"]) == (engine["sha256"], engine["onnx"])
    assert [path for path in kept if path.endswith(".engine")] == [PATH]
    assert not any(b"secret" in path.read_bytes() or b"anywhere" in path.read_bytes() for path in folder.rglob("*.*"))


def test_golden_logits_of_an_engine_are_those_of_its_onnx_file_as_written(built):
    folder, outcome = built()
    pixels, found = np.load(folder / "golden/inputs.npy"), np.load(folder / "golden/logits-trt.npy")
    session = onnxrt.open_session(folder / "models/student.trt.onnx", optimised=False)
    opened = load(folder, "fp32")
    assert np.array_equal(found, onnxrt.run(session, normalize(pixels, opened.preprocessing)))
    assert not np.allclose(found, opened.logits_of_pixels(pixels), atol=1e-3)
    (agreement,) = (one for one in outcome.measurements if one.name == "golden_agreement")
    assert agreement.conditions["not_run"] == [PATH]  # here is no such device: nothing is said of the engine


def test_the_commands_of_a_connected_target_build_again_and_those_of_another_build_first(built):
    folder, _ = built()
    again, first = ((folder / f"models/ENGINES-{name}.txt").read_text() for name in ("jetson", "nx"))
    assert f"{PATH} was built and measured on it; this builds it again." in again and "trtexec" in again
    assert "Nothing was built or measured on it." in first
    card = (folder / "MODEL_CARD.md").read_text()
    assert "was built and measured on jetson" in card and "For nx: " in card and "- nx: no host is given" in card


def test_a_run_whose_devices_are_not_connected_makes_the_bundle_it_always_made(context):
    whole = context("bundle")
    bundle.run(whole)
    assert json.loads((whole.folder / "manifest.json").read_text())["engines"] == []
    assert not list(whole.folder.rglob("*.engine")) and not (whole.folder / "golden/logits-trt.npy").exists()
    assert "Nothing was built or measured on it." in (whole.folder / "models/ENGINES-jetson.txt").read_text()
    with pytest.raises(Problem, match="no model tensorrt"):
        load(whole.folder, "tensorrt")


def test_files_that_build_only_prepared_are_no_engine(context):
    prepared = context("nx/build", "nx")
    whole = context("bundle", **{"nx/build": Input(build.run(prepared), prepared.folder)})
    bundle.run(whole)
    assert json.loads((whole.folder / "manifest.json").read_text())["engines"] == []


@pytest.mark.parametrize(("notes", "files"), [({"gated": True}, ["student.trt.onnx"]), ({}, [])])
def test_the_file_that_openvino_was_measured_with_is_in_the_bundle_where_it_is_none_of_the_usual(tmp_path, notes, files):
    text = "edgekd: 1\nname: a\ndata: {source: digits, image_size: 32}\nteacher: {model: resnet18, epochs: 1}\n"
    text += "student: {model: mobilenet_v2}\ndistill: {method: label, epochs: 1}\n"
    recipe = loads(text + "targets: {cpu: {device: local-cpu, runtime: openvino}}\n", "a.yaml", tmp_path)
    made = []
    for flavour in ("fp32", "ort", "ort-w7", "trt"):
        (tmp_path / f"student.{flavour}.onnx").write_bytes(flavour.encode())
        made.append(Artifact.of(flavour, tmp_path / f"student.{flavour}.onnx", tmp_path))
    context = Context(recipe, tmp_path, {"export": Input(Outcome(tuple(made), (), notes), tmp_path)})
    assert sorted(bundle._for_devices(context, ())) == files
