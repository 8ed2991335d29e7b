"""A bundle with engines: what stands in it of each, and that a machine which cannot run one claims nothing of it."""

import hashlib
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from edgekd.bundle import Engine, make, verify
from edgekd.cli import main
from edgekd.core import DeviceError, InputError

PATH = "models/jetson/student.int8-fp16.engine"
CONTENT = b"ftrt" + bytes(20) + bytes((10, 3, 0, 30)) + bytes(40)  # as much of an engine as a bundle reads


@pytest.fixture
def parts_with(parts, tmp_path):
    """The parts of a bundle with an engine, and with another target that is not connected."""
    (tmp_path / "built.engine").write_bytes(CONTENT)
    files = {name: tmp_path / name for name in ("student.trt.onnx", "student.fp16.onnx")}
    for name, path in files.items():
        path.write_bytes(name.encode())
    engine = Engine(
        tmp_path / "built.engine", files["student.trt.onnx"], "trt", "jetson", "jetson-orin-nano-8gb", "int8+fp16", "10.3.0.30",
        "8.7", "p3767-0003",
    )  # fmt: skip
    card = replace(
        parts["card"], not_measured=[("nx", "no host is given")],
        for_devices=[("jetson", ["student.trt.onnx"], "ENGINES-jetson.txt"), ("nx", ["student.fp16.onnx"], "ENGINES-nx.txt")],
    )  # fmt: skip
    return {
        **parts, "engines": [engine], "golden_logits": {**parts["golden_logits"], "trt": parts["golden_logits"]["ort"]},
        "for_devices": {**files, "ENGINES-jetson.txt": "again\n", "ENGINES-nx.txt": "first\n"}, "card": card,
    }  # fmt: skip


@pytest.fixture
def folder(parts_with, tmp_path):
    make(tmp_path / "bundle", **parts_with)
    return tmp_path / "bundle"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_manifest_says_of_an_engine_what_a_loader_must_know_and_hashes_it(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["engines"] == [{
        "path": PATH, "target": "jetson", "device": "jetson-orin-nano-8gb", "module": "p3767-0003", "precision": "int8+fp16",
        "flavour": "trt", "tensorrt": "10.3.0.30", "compute_capability": "8.7", "onnx": sha256(b"student.trt.onnx"),
        "sha256": sha256(CONTENT),
    }]  # fmt: skip
    hashed = {one["path"]: one["sha256"] for one in manifest["files"]}
    assert hashed[PATH] == sha256(CONTENT) and hashed["models/student.trt.onnx"] == manifest["engines"][0]["onnx"]
    assert (folder / "golden/logits-trt.npy").read_bytes() == (folder / "golden/logits-ort.npy").read_bytes()


def test_an_engine_that_cannot_run_here_is_named_and_neither_agrees_nor_fails(folder):
    found = verify(folder)
    found.require()
    assert set(found.golden) == {"fp32", "ort", "ort-w7"} and list(found.not_run) == [PATH]
    assert "it is for TensorRT 10.3.0.30, compute capability 8.7 (jetson-orin-nano-8gb); here: " in found.not_run[PATH]
    assert found.measurement().conditions["not_run"] == [PATH] and found.as_json()["not_run"] == found.not_run


def test_the_command_says_which_engine_it_did_not_run_and_does_not_fail_for_it(folder):
    result = CliRunner().invoke(main, ["bundle", "verify", str(folder)])
    assert result.exit_code == 0 and f"{PATH} was NOT run here: it is for TensorRT 10.3.0.30" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{folder}: whole, and right in all that ran here"
    document = json.loads(CliRunner().invoke(main, ["bundle", "verify", str(folder), "--json"]).stdout)
    assert document["exit_code"] == 0 and list(document["not_run"]) == [PATH] and PATH not in document["golden"]


def test_one_flipped_bit_in_an_engine_is_refused(folder):
    (folder / PATH).write_bytes(CONTENT[:-1] + b"\1")
    assert verify(folder).differences == (f"{PATH}: has other bytes",)


def test_the_card_tells_where_an_engine_was_measured_and_that_it_runs_only_there(folder):
    card = " ".join((folder / "MODEL_CARD.md").read_text().split())
    said = (
        r"models/jetson/student.int8-fp16.engine (int8+fp16) was built and measured on jetson: jetson-orin-nano-8gb, p3767-0003, "
    )
    assert said + "TensorRT 10.3.0.30, compute capability 8.7. An engine runs only there" in card
    assert "After an update of jetson, or for another device, build it again: models/student.trt.onnx, by the commands" in card
    assert "For nx: models/student.fp16.onnx. Engines are built from these on the device itself" in card
    assert "For jetson:" not in card and "On such a GPU with that TensorRT the loader takes it by itself" in card


def test_the_card_promises_no_loader_for_an_engine_of_a_tensorrt_it_does_not_run(parts_with, tmp_path):
    make(tmp_path / "bundle", **{**parts_with, "engines": [replace(parts_with["engines"][0], tensorrt="8.2.1.8")]})
    card = " ".join((tmp_path / "bundle/MODEL_CARD.md").read_text().split())
    assert "The loader takes engines of TensorRT 8.5 and later, and here a model" in card and "by itself" not in card


@pytest.mark.parametrize(("change", "kind", "said"), [
    ({"file": b"no engine, but long enough to have a header"}, DeviceError, "no TensorRT engine"),
    ({"file": CONTENT[:20]}, DeviceError, "cut short"),
    ({"tensorrt": "10.13.3.9"}, DeviceError, "another version"),
    ({"onnx": "else.onnx"}, InputError, "lacks the ONNX file"),
    ({"target": "../up"}, InputError, "plain names"), ({"target": "student.ort.onnx"}, InputError, "plain names"),
    ({"flavour": "fp16"}, InputError, "golden logits"),
])  # fmt: skip
def test_an_engine_that_does_not_fit_is_refused_before_anything_is_written(parts_with, tmp_path, change, kind, said):
    (engine,) = parts_with["engines"]
    if "file" in change:
        engine.file.write_bytes(change["file"])
    else:
        engine = replace(engine, **{name: tmp_path / text if name == "onnx" else text for name, text in change.items()})
    with pytest.raises(kind, match=said):
        make(tmp_path / "bundle", **{**parts_with, "engines": [engine]})
    assert not (tmp_path / "bundle").exists()


def test_two_engines_of_one_target_are_refused(parts_with, tmp_path):
    with pytest.raises(InputError, match="plain names"):
        make(tmp_path / "bundle", **{**parts_with, "engines": parts_with["engines"] * 2})
