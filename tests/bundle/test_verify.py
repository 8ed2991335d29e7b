"""Whatever is changed in a bundle must be found: each test changes one thing and requires the failure."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest

from edgekd.bundle import make, open_bundle, verify
from edgekd.core import InputError, IntegrityError, canonical_json

FILES = [
    "preprocessing.json", "labels.json", "edgekd.pyz", "MODEL_CARD.md", "models/student.fp32.onnx", "models/student.ort.onnx",
    "models/student.ort-w7.onnx", "golden/inputs.npy",
    "golden/logits-fp32.npy", "golden/logits-ort.npy", "golden/logits-ort-w7.npy",
]  # fmt: skip
MANIFESTS = ["manifest.json", "manifest.json.sha256"]


def flip_bit(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def rewrite_manifest(bundle, change):
    """An attacker who edits the manifest and its detached hash alike."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    text = canonical_json(manifest).encode()
    (bundle / "manifest.json").write_bytes(text)
    (bundle / "manifest.json.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}  manifest.json\n")


def refused(bundle, *paths):
    found = verify(bundle)
    assert len(found.differences) == len(paths)
    assert all(path in line for path, line in zip(sorted(paths), found.differences, strict=True))
    assert found.golden == {} and found.measurement().n == 0
    with pytest.raises(IntegrityError) as caught:
        found.require()
    assert all(path in caught.value.seen for path in paths)


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("path", FILES)
def test_one_flipped_bit_is_refused(bundle, path, at):
    flip_bit(bundle / path, at)
    refused(bundle, path)


@pytest.mark.parametrize("path", MANIFESTS)
def test_one_flipped_bit_in_the_manifest_or_its_hash_is_refused(bundle, path):
    flip_bit(bundle / path, 0.1)
    refused(bundle, "manifest.json")


@pytest.mark.parametrize("path", FILES)
def test_a_truncated_file_is_refused(bundle, path):
    os.truncate(bundle / path, (bundle / path).stat().st_size - 1)
    refused(bundle, path)


@pytest.mark.parametrize("path", FILES)
def test_a_missing_file_is_refused(bundle, path):
    (bundle / path).unlink()
    refused(bundle, path)


@pytest.mark.parametrize("path", FILES)
def test_a_renamed_file_is_missing_and_extra(bundle, path):
    (bundle / path).rename(bundle / f"{path}.old")
    refused(bundle, path, f"{path}.old")


@pytest.mark.parametrize("path", FILES)
def test_a_link_is_refused_even_to_the_same_bytes(bundle, path):
    shutil.move(bundle / path, bundle.parent / "elsewhere")
    (bundle / path).symlink_to(bundle.parent / "elsewhere")
    refused(bundle, path)


def test_a_linked_folder_is_refused(bundle):
    shutil.move(bundle / "models", bundle.parent / "models")
    (bundle / "models").symlink_to(bundle.parent / "models")
    assert any("models" in line for line in verify(bundle).differences)


@pytest.mark.parametrize("path", ["extra.txt", "models/extra.onnx", "golden/.hidden"])
def test_an_extra_file_is_refused(bundle, path):
    (bundle / path).write_bytes(b"")
    refused(bundle, path)


def test_all_differences_are_named_at_once(bundle):
    flip_bit(bundle / "labels.json")
    (bundle / "golden/inputs.npy").unlink()
    (bundle / "extra.txt").write_text("extra")
    refused(bundle, "labels.json", "golden/inputs.npy", "extra.txt")


def test_a_manifest_edited_to_fit_a_changed_file_is_refused_by_its_own_hash(bundle):
    (bundle / "labels.json").write_text('["a", "b", "c", "d"]')
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    for one in manifest["files"]:
        if one["path"] == "labels.json":
            one.update(sha256=hashlib.sha256((bundle / "labels.json").read_bytes()).hexdigest(), bytes=20)
    (bundle / "manifest.json").write_text(canonical_json(manifest), encoding="utf-8")
    refused(bundle, "manifest.json")


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/hostname", "models/../../outside.txt", "", ".", "a\\b", "models//x"])
def test_a_manifest_may_not_name_a_file_outside(bundle, path):
    (bundle.parent / "outside.txt").write_text("outside")
    rewrite_manifest(bundle, lambda manifest: manifest["files"].append({"path": path, "sha256": "0" * 64, "bytes": 7}))
    refused(bundle, "manifest.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest.update(files=[1]),
        lambda manifest: manifest.update(classes=5),
        lambda manifest: manifest.update(models=[{"path": "models/absent.onnx", "flavour": "ort", "precision": "int8"}]),
    ],
)
def test_a_manifest_that_does_not_fit_its_files_is_refused(bundle, change):
    rewrite_manifest(bundle, change)
    assert verify(bundle).differences != ()


def test_a_listed_model_that_is_none_is_refused(bundle):
    rewrite_manifest(bundle, lambda manifest: manifest["models"][1].update(path="labels.json"))
    with pytest.raises(InputError, match="not an ONNX file"):
        verify(bundle)


def test_golden_cases_that_disagree_are_refused_though_every_hash_fits(tmp_path, parts):
    turned = {name: np.roll(one, 1, axis=1) for name, one in parts["golden_logits"].items()}
    make(tmp_path / "bundle", **{**parts, "golden_logits": turned})
    found = verify(tmp_path / "bundle")
    assert any("golden cases of models/student.ort.onnx" in line for line in found.differences)
    assert found.measurement().value < 0.5


def test_a_bundle_may_be_moved_and_copied(bundle):
    moved = bundle.parent / "a folder with spaces, ünïcode"
    shutil.copytree(bundle, moved)
    shutil.rmtree(bundle)
    assert verify(moved).differences == ()
    assert open_bundle(moved).labels == ["cat", "größe", "猫 | <b>", "no*thing*"]


def test_a_folder_without_a_bundle_is_bad_input_not_damage(tmp_path):
    with pytest.raises(InputError, match="no bundle there"):
        verify(tmp_path)
    with pytest.raises(InputError, match="no bundle there"):
        open_bundle(tmp_path / "absent")


def test_a_damaged_model_is_refused_when_an_app_opens_it(bundle):
    for path in (bundle / "models").iterdir():
        flip_bit(path)
    with pytest.raises(IntegrityError, match="damaged"):
        open_bundle(bundle)


def test_loading_and_running_a_bundle_leaves_the_callers_arithmetic_alone(bundle, parts):
    smallest_normal = 2.2250738585072014e-308
    open_bundle(bundle).logits_of_pixels(parts["golden_images"])
    assert smallest_normal / 2 > 0 and verify(bundle).differences == ()
    assert smallest_normal / 2 > 0  # onnxruntime's session.set_denormal_as_zero would flush it for the whole thread
