"""A bundle predicts what its model says, and any change to it is named."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from edgekd.device import Problem, load, onnxrt, verify

FILES = [
    "golden/inputs.npy", "golden/logits-fp32.npy", "golden/logits-ort-w7.npy", "labels.json", "models/tiny.fp32.onnx",
    "models/tiny.ort-w7.onnx", "preprocessing.json",
]  # fmt: skip


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_whole_bundle_has_no_differences(bundle):
    assert verify(bundle) == []


def test_predictions_are_the_softmax_of_the_logits(bundle, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a b.png")
    opened = load(bundle, "fp32")
    logits = opened.logits([tmp_path / "a b.png"])[0].astype(float)
    shares = np.exp(logits) / np.exp(logits).sum()
    (one,) = opened.predict(tmp_path / "a b.png", top=4)
    assert (one["index"], one["label"]) == (int(logits.argmax()), ["cat", "dog", "Käfer", "none"][int(logits.argmax())])
    assert [best["index"] for best in one["top"]] == list(np.argsort(-shares))
    assert [best["probability"] for best in one["top"]] == pytest.approx(sorted(shares, reverse=True))
    json.dumps(one)


def test_images_of_every_kind_in_order_and_in_any_number(bundle):
    opened = load(bundle)
    pixels = np.load(bundle / "golden/inputs.npy")
    together = opened.logits(list(pixels) * 20)  # more than one batch of decoding
    assert np.array_equal(together, np.tile(opened.logits_of_pixels(pixels), (20, 1)))
    assert np.array_equal(opened.logits(pixels), together[:6])  # an array [N, H, W, 3]
    assert np.array_equal(opened.logits(pixels[2]), together[2:3])  # an array [H, W, 3]
    assert np.array_equal(opened.logits(Image.fromarray(pixels[2])), together[2:3])
    assert opened.logits([]).shape == (0, 4) and opened.predict(iter([])) == []


def test_the_flavour_follows_the_cpu_and_falls_back(bundle, tiny, monkeypatch):
    monkeypatch.setattr(onnxrt, "this_identity", lambda: {"arch": "x86_64", "isa": ["avx2"]})
    assert load(bundle).flavour == "ort-w7"
    models = json.loads((bundle / "manifest.json").read_text())["models"]
    tiny.seal(bundle, models=[models[1], {**models[0], "flavour": "ort"}, models[0]])
    shutil.copy(bundle / "golden/logits-ort-w7.npy", bundle / "golden/logits-ort.npy")
    tiny.seal(bundle)
    monkeypatch.setattr(onnxrt, "this_identity", lambda: {"arch": "aarch64", "isa": []})
    assert load(bundle).flavour == "ort"
    tiny.seal(bundle, models=[models[1]])
    assert load(bundle).flavour == "fp32"
    with pytest.raises(Problem, match="no model ort-w7"):
        load(bundle, "ort-w7")


@pytest.mark.parametrize("path", FILES)
def test_one_flipped_bit_is_named(bundle, path):
    flip_bit(bundle / path)
    assert verify(bundle) == [f"{path}: has other bytes"]


@pytest.mark.parametrize("path", FILES)
def test_a_missing_file_is_named(bundle, path):
    (bundle / path).unlink()
    assert verify(bundle) == [f"{path}: missing"]


def test_all_differences_are_named_at_once(bundle):
    (bundle / "labels.json").unlink()
    (bundle / "models/extra.onnx").write_bytes(b"")
    flip_bit(bundle / "golden/inputs.npy")
    with (bundle / "preprocessing.json").open("a") as file:
        file.write(" ")
    said = verify(bundle)
    assert [line.split(":")[0] for line in said] == [
        "golden/inputs.npy",
        "labels.json",
        "models/extra.onnx",
        "preprocessing.json",
    ]
    assert said[1:3] == ["labels.json: missing", "models/extra.onnx: extra"] and "bytes, not" in said[3]


@pytest.mark.parametrize("path", ["manifest.json", "manifest.json.sha256"])
def test_a_changed_manifest_is_refused(bundle, path):
    flip_bit(bundle / path)
    for use in (load, verify):
        with pytest.raises(Problem) as refused:
            use(bundle)
        assert refused.value.code == "integrity"


@pytest.mark.parametrize("path", ["preprocessing.json", "labels.json", "models/tiny.ort-w7.onnx"])
def test_loading_refuses_a_changed_file_it_needs(bundle, path):
    flip_bit(bundle / path)
    with pytest.raises(Problem, match="damaged: " + path) as refused:
        load(bundle, "ort-w7")
    assert refused.value.code == "integrity"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "models/../../x", "a//b", "", "a\\b", "./a", 7, "models/x\0y"])
def test_a_path_that_leaves_the_bundle_is_refused(bundle, tiny, path):
    manifest = json.loads((bundle / "manifest.json").read_text())
    tiny.seal(bundle, files=manifest["files"] + [{"path": path, "sha256": "0" * 64, "bytes": 1}])
    with pytest.raises(Problem, match="names files it may not") as refused:
        load(bundle)
    assert refused.value.code == "integrity"


@pytest.mark.parametrize(
    "change", [{"files": None}, {"files": [{}]}, {"files": [{"path": "a", "sha256": 1, "bytes": 2}]}, {"models": 3}]
)
def test_a_manifest_of_another_shape_is_refused(bundle, tiny, change):
    tiny.seal(bundle, **change)
    with pytest.raises(Problem) as refused:
        load(bundle)
    assert refused.value.code == "integrity"


def test_a_newer_schema_is_said_to_be_one(bundle, tiny):
    tiny.seal(bundle, schema=2)
    with pytest.raises(Problem, match="schema 1") as refused:
        load(bundle)
    assert refused.value.seen == "2"


def test_links_are_refused_even_to_the_right_bytes(bundle, tmp_path):
    shutil.copy(bundle / "labels.json", tmp_path / "labels.json")
    (bundle / "labels.json").unlink()
    (bundle / "labels.json").symlink_to(tmp_path / "labels.json")
    shutil.move(bundle / "models", tmp_path / "models")
    (bundle / "models").symlink_to(tmp_path / "models")
    said = verify(bundle)
    assert "labels.json: is a link or no plain file" in said and "models: extra" in said
    with pytest.raises(Problem, match="damaged"):
        load(bundle)


def test_an_oversize_file_is_not_read(bundle, tiny, monkeypatch):
    monkeypatch.setattr("edgekd.device.integrity.MOST_FILE_BYTES", 10)
    assert any("more than any file of a bundle may" in line for line in verify(bundle))


def test_golden_cases_that_change_class_are_a_difference(bundle, tiny):
    logits = np.load(bundle / "golden/logits-ort-w7.npy")
    np.save(bundle / "golden/logits-ort-w7.npy", np.roll(logits, 1, axis=1))
    tiny.seal(bundle)
    said = verify(bundle)
    assert "0 of 6 agree" in said[0] and "SQNR" in said[1] and all("tiny.ort-w7.onnx" in line for line in said)


def test_golden_numbers_by_hand(bundle, tiny):
    logits = np.load(bundle / "golden/logits-fp32.npy")
    np.save(bundle / "golden/logits-fp32.npy", logits * np.float32(1.1))  # error 1/11 of the reference: 20.8 dB
    tiny.seal(bundle)
    result = load(bundle, "fp32").golden()
    assert (result["cases"], result["agree"]) == (6, 6)
    assert result["sqnr_db"] == pytest.approx(20.828, abs=0.01)
    assert any("SQNR 20.8 dB, must be at least 60" in line for line in verify(bundle))


def test_labels_that_do_not_fit_are_refused(bundle, tiny):
    (bundle / "labels.json").write_text('["only one"]')
    tiny.seal(bundle)
    with pytest.raises(Problem, match="labels and classes differ"):
        load(bundle)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_golden_files_that_are_no_arrays_are_refused(bundle, tiny, content):
    (bundle / "golden/inputs.npy").write_bytes(content)
    tiny.seal(bundle)
    with pytest.raises(Problem, match="not a numpy array file"):
        load(bundle).golden()


def test_no_bundle_there_says_so(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(Problem, match="no bundle there") as refused:
            load(folder)
        assert (refused.value.code, refused.value.where) == ("input", str(folder))


def test_the_image_that_cannot_be_read_is_named(bundle, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(Problem) as refused:
        load(bundle).predict([np.zeros((8, 8, 3), np.uint8), tmp_path / "broken.jpg"])
    assert (refused.value.code, refused.value.where) == ("input", os.fspath(tmp_path / "broken.jpg"))
