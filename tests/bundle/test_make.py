import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgekd.bundle import make, surest_half, verify
from edgekd.core import InputError, canonical_json

PROMISED = {
    "manifest.json", "manifest.json.sha256", "preprocessing.json", "labels.json", "edgekd.pyz", "MODEL_CARD.md",
    "models/student.fp32.onnx", "models/student.ort.onnx", "models/student.ort-w7.onnx",
    "golden/inputs.npy", "golden/logits-fp32.npy", "golden/logits-ort.npy", "golden/logits-ort-w7.npy",
}  # fmt: skip


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_holds_the_promised_files_and_nothing_else(tmp_path, parts):
    artifacts = make(tmp_path / "bundle", **parts)
    assert set(contents(tmp_path / "bundle")) == PROMISED == {one.path for one in artifacts} == {one.kind for one in artifacts}
    assert [one.problem_below(tmp_path / "bundle") for one in artifacts] == [None] * len(PROMISED)


def test_the_same_inputs_give_the_same_bytes_anywhere(tmp_path, parts, bundle):
    make(tmp_path / "another place", **parts)
    assert contents(tmp_path / "another place") == contents(bundle)


def test_the_manifest_is_canonical_and_sha256sum_accepts_it(bundle):
    text = (bundle / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert text == canonical_json(manifest)
    listed = {one["path"]: (one["sha256"], one["bytes"]) for one in manifest["files"]}
    rest = {path: content for path, content in contents(bundle).items() if not path.startswith("manifest.json")}
    assert listed == {path: (hashlib.sha256(content).hexdigest(), len(content)) for path, content in rest.items()}
    assert [(one["flavour"], one["precision"], one["weight_bits"]) for one in manifest["models"]] == [
        ("fp32", "fp32", 32), ("ort", "int8", 8), ("ort-w7", "int8", 7)]  # fmt: skip
    assert manifest["classes"] == 4
    subprocess.run(["sha256sum", "-c", "--quiet", "manifest.json.sha256"], cwd=bundle, check=True)


def test_what_was_made_verifies_with_every_golden_case(bundle, parts):
    found = verify(bundle)
    assert found.differences == ()
    assert {flavour: (one.cases, one.agree) for flavour, one in found.golden.items()} == dict.fromkeys(
        ("fp32", "ort", "ort-w7"), (12, 12)
    )
    measured = found.measurement()
    assert (measured.name, measured.value, measured.n, measured.counts) == ("golden_agreement", 1.0, 12, (12,))


def test_the_zipapp_inside_needs_nothing_of_edgekd(bundle, tmp_path):
    from PIL import Image

    Image.new("RGB", (9, 7), (200, 30, 40)).save(tmp_path / "photo.png")
    isolated = [sys.executable, "-I", str(bundle / "edgekd.pyz")]
    said = subprocess.run([*isolated, "predict", "photo.png", "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["predictions"][0]["label"] in ["cat", "größe", "猫 | <b>", "no*thing*"]
    subprocess.run([*isolated, "verify"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_the_card_tells_what_was_and_was_not_measured_and_keeps_names_text(bundle):
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| cpu | top1 | 0.9722 [0.95, 0.985], n=360 |" in card
    assert r"- jetson: no host is given: --host jetson=\[user@\]HOST" in card
    assert r"猫 \| \<b\>" in card and r"no\*thing\*" in card and "<b>" not in card


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: {"models": []}, "models of known flavours"),
        (lambda p: {"models": [*p["models"], p["models"][0]]}, "models of known flavours"),
        (lambda p: {"models": [("trt", p["models"][0][1])]}, "models of known flavours"),
        (lambda p: {"models": [("ort", p["models"][0][1])], "golden_logits": {"ort": p["golden_logits"]["ort"]}}, "no ort model"),
        (lambda p: {"models": [("fp32", p["models"][0][1].with_name("absent.onnx"))]}, "no fp32 model"),
        (lambda p: {"labels": ["cat", "cat", "a", "b"]}, "different names"),
        (lambda p: {"labels": []}, "different names"),
        (lambda p: {"labels": ["a", "b"]}, "finite float32"),
        (lambda p: {"golden_images": p["golden_images"][:0]}, "uint8"),
        (lambda p: {"golden_images": p["golden_images"].astype(np.float32)}, "uint8"),
        (lambda p: {"golden_images": p["golden_images"][:, :2]}, "uint8"),
        (lambda p: {"golden_logits": {}}, "every model"),
        (
            lambda p: {"golden_logits": {name: one * np.float32("nan") for name, one in p["golden_logits"].items()}},
            "finite float32",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, parts, change, said):
    with pytest.raises(InputError, match=said):
        make(tmp_path / "bundle", **{**parts, **change(parts)})
    assert not (tmp_path / "bundle").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, parts):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty"):
        make(tmp_path, **parts)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


@pytest.fixture
def for_a_device(parts, tmp_path):
    """The parts of a bundle that also serves a device which builds its own engine."""
    (tmp_path / "student.trt.onnx").write_bytes(b"a file for TensorRT")
    card = replace(parts["card"], for_devices=[("jetson", ["student.trt.onnx", "student.fp32.onnx"], "ENGINES-jetson.txt")])
    files = {"student.trt.onnx": tmp_path / "student.trt.onnx", "ENGINES-jetson.txt": "trtexec --onnx=student.trt.onnx\n"}
    return {**parts, "card": card, "for_devices": files}


def test_files_for_devices_are_hashed_and_named_and_no_app_loads_them(for_a_device, tmp_path):
    from edgekd.runtime import load

    folder = tmp_path / "bundle"
    make(folder, **for_a_device)
    assert set(contents(folder)) == PROMISED | {"models/student.trt.onnx", "models/ENGINES-jetson.txt"}
    assert verify(folder).differences == () and set(verify(folder).golden) == {"fp32", "ort", "ort-w7"}
    card = (folder / "MODEL_CARD.md").read_text()
    assert "For jetson: models/student.trt.onnx, models/student.fp32.onnx." in card and "models/ENGINES-jetson.txt" in card
    assert load(folder).labels == for_a_device["labels"]
    (folder / "models/student.trt.onnx").write_bytes(b"A file for TensorRT")
    assert any("models/student.trt.onnx" in line for line in verify(folder).differences)


@pytest.mark.parametrize("name", ["../student.trt.onnx", "student.fp32.onnx", ".hidden", "a b.onnx"])
def test_a_file_for_devices_has_a_plain_name_of_its_own(for_a_device, tmp_path, name):
    with pytest.raises(InputError, match="plain names"):
        make(tmp_path / "bundle", **{**for_a_device, "for_devices": {name: "text"}})
    assert not (tmp_path / "bundle").exists()


def test_golden_cases_are_those_where_no_model_is_near_a_tie():
    sure, tied, unsure = [9.0, 0.0, 1.0], [5.0, 5.0, 0.0], [3.0, 2.0, 0.0]
    one, other = np.array([sure, tied, sure, unsure], np.float32), np.array([tied, sure, sure, sure], np.float32) * 10
    assert surest_half([one]).tolist() == [0, 2]
    assert surest_half([one, other]).tolist() == [2, 3]
    assert surest_half([np.full((3, 2), np.nan, np.float32)]).tolist() == [0, 1]  # not chosen away: verify refuses them
