"""`edgekd predict` and `edgekd bundle verify`, as processes see them: stdout, stderr, exit code."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgekd.cli import main
from edgekd.runtime import load


def invoke(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for at, suffix in enumerate(("png", "jpg", "bmp")):
        pixels = np.random.default_rng(at).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo {at}.{suffix}")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_predict_says_what_the_runtime_says(bundle, photos):
    images = [photos / "photo 0.png", photos / "photo 1.jpg"]
    result = invoke("predict", bundle, *images, "--json", "--top", "3")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    expected = load(bundle).predict([str(path) for path in images], top=3)
    assert document["predictions"] == [{"image": str(path), **one} for path, one in zip(images, expected, strict=True)]
    assert document["flavour"] == load(bundle).flavour


def test_predict_runs_the_model_it_is_told_to_and_names_those_there_are(bundle, photos):
    image = photos / "photo 0.png"
    document = json.loads(invoke("predict", bundle, image, "--flavour", "fp32", "--json").stdout)
    assert document["flavour"] == "fp32" != load(bundle).flavour
    assert document["predictions"][0]["probability"] == load(bundle, "fp32").predict([str(image)])[0]["probability"]
    other = invoke("predict", bundle, image, "--flavour", "fp16")
    assert other.exit_code == 2 and "the bundle has no model fp16" in other.stderr and "one of: fp32, ort" in other.stderr


def test_a_folder_stands_for_its_visible_images_in_order(bundle, photos):
    (photos / "._photo 1.jpg").write_bytes(b"what macOS leaves beside a picture")
    result = invoke("predict", bundle, photos)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        str(photos / name) for name in ("photo 0.png", "photo 1.jpg", "photo 2.bmp")
    ]
    label, probability = lines[0].split("  ")[1:]
    assert label in load(bundle).labels and 0.25 <= float(probability) <= 1


def test_a_corrupt_image_is_named_and_the_others_are_still_classified(bundle, photos):
    (photos / "photo 1.jpg").write_bytes((photos / "photo 1.jpg").read_bytes()[:40])
    result = invoke("predict", bundle, photos)
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 2
    assert "1 of 3 images cannot be read" in result.stderr and "photo 1.jpg" in result.stderr
    document = json.loads(invoke("predict", bundle, photos, "--json").stdout)
    assert document["exit_code"] == 2 and len(document["predictions"]) == 2 and "photo 1.jpg" in document["error"]["seen"]


@pytest.mark.parametrize("missing", ["no such image.png", "empty"])
def test_a_missing_image_and_an_empty_folder_are_bad_input(bundle, tmp_path, missing):
    (tmp_path / "empty").mkdir()
    result = invoke("predict", bundle, tmp_path / missing)
    assert (result.exit_code, result.stdout) == (2, "") and missing in result.stderr


def test_predict_without_a_bundle_or_with_a_damaged_one(bundle, photos, tmp_path):
    assert invoke("predict", tmp_path / "absent", photos).exit_code == 2
    (bundle / "labels.json").write_text("[]")
    result = invoke("predict", bundle, photos)
    assert (result.exit_code, result.stdout) == (7, "") and "labels.json" in result.stderr
    assert json.loads(invoke("predict", bundle, photos, "--json").stdout)["error"]["code"] == "integrity"


def test_a_label_cannot_steer_the_terminal(tmp_path, parts, photos):
    from edgekd.bundle import make

    make(tmp_path / "bundle", **{**parts, "labels": [f"\x1b[2J{at}" for at in range(4)]})
    result = invoke("predict", tmp_path / "bundle", photos, "--top", "4")
    assert result.exit_code == 0 and "\x1b" not in result.stdout and "\\x1b[2J" in result.stdout


def test_verify_tells_what_agrees(bundle):
    result = invoke("bundle", "verify", bundle)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"{bundle}: whole and right"
    assert "ort     12 of 12 golden cases agree" in result.stdout
    assert json.loads(invoke("bundle", "verify", bundle, "--json").stdout)["differences"] == []


def test_verify_names_every_difference_and_exits_with_7(bundle):
    (bundle / "labels.json").unlink()
    (bundle / "extra\x1b.txt").write_text("extra")
    result = invoke("bundle", "verify", bundle)
    assert (result.exit_code, result.stdout) == (7, "")
    assert (
        "labels.json: missing" in result.stderr and "extra\\x1b.txt: extra" in result.stderr and "2 differences" in result.stderr
    )
    document = json.loads(invoke("bundle", "verify", bundle, "--json").stdout)
    assert document["exit_code"] == 7 and len(document["differences"]) == 2 and document["error"]["code"] == "integrity"


def test_verify_of_no_bundle_is_bad_input(tmp_path):
    assert invoke("bundle", "verify", tmp_path).exit_code == 2
    assert json.loads(invoke("bundle", "verify", tmp_path, "--json").stdout)["error"]["code"] == "input"


def test_bundle_and_predict_work_where_torch_and_onnx_cannot_be_imported(bundle, photos):
    code = """
import sys
for name in ("torch", "torchvision", "onnx", "safetensors"):
    sys.modules[name] = None
from edgekd.cli import main
main(sys.argv[1:])
"""
    for words in (["bundle", "verify", bundle], ["predict", bundle, photos]):
        subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True, capture_output=True)
