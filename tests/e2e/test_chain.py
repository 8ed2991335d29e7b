"""The chain from recipe to bundle, by the commands a user types, on real images and a real runtime."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small_chain import RECIPE, document_of, edgekd, statuses

from edgekd.data import open_dataset
from edgekd.recipe import load
from edgekd.report import read

RAN = ["sketch", "cpu/preflight", "teacher", "distill", "quantize", "export", "cpu/build", "jetson/build", "cpu/benchmark",
       "bundle"]  # fmt: skip
NO_TORCH = "sys.modules['torch'] = sys.modules['torchvision'] = sys.modules['onnx'] = None"


def test_the_document_is_complete_and_every_promised_number_is_there(walked):
    folder, document = walked
    assert [name for name, status in statuses(document).items() if status == "done"] == RAN
    measured = {(step.get("target"), step["name"]): {one["name"] for one in step["measurements"]} for step in document["stages"]}
    assert {"top1", "top5", "ece"} <= measured[None, "teacher"]
    assert {"top1", "top1_drop"} <= measured[None, "distill"] & measured[None, "quantize"]
    assert {"parity.top1_agreement", "parity.sqnr_db", "parity.max_abs", "parity_fp32.sqnr_db"} <= measured[None, "export"]
    assert {"build_s", "size_mb", "layers.float"} <= measured["cpu", "build"]
    assert {"latency_ms.p50", "latency_ms.fastest", "speedup", "size_mb", "peak_memory_mb"} <= measured["cpu", "preflight"]
    assert measured["jetson", "build"] == set()
    timing = {"latency_ms.p50", "latency_ms.p90", "latency_ms.p99", "latency_ms_fp32.p50", "speedup", "throughput"}
    assert {"top1", "top1_fp32", "top1_drop", "parity.top1_agreement", *timing} <= measured["cpu", "benchmark"]
    assert (document["verdict"], document["exit_code"], document["unmeasured"]) == ("PASS", 0, ["jetson"])
    assert document["targets"][1]["why"] == "no host is given: --host jetson=[user@]HOST"
    assert document["test_opened"] == 1
    for artifact in (one for step in document["stages"] for one in step["artifacts"]):
        assert (folder / "runs/small" / artifact["path"]).stat().st_size == artifact["bytes"]
    assert read(folder / "runs/small").verdict == "PASS"


def test_no_float_convolution_runs_and_int8_keeps_the_class_of_the_simulation(walked):
    _, document = walked
    by_name = {(step["name"], one["name"]): one["value"] for step in document["stages"] for one in step["measurements"]}
    assert by_name["build", "layers.float"] == 0
    assert by_name["export", "lint.errors"] == 0
    assert by_name["export", "parity.top1_agreement"] >= 0.98
    assert by_name["export", "parity_fp32.sqnr_db"] > 80


def test_a_device_that_is_not_connected_finds_its_files_in_run_and_bundle(walked):
    folder, document = walked
    build = folder / "runs/small/jetson/build"
    models = {"student.trt.onnx", "student.fp16.onnx", "student.trt-fp16.onnx", "student.fp32-b1.onnx"}
    assert {path.name for path in build.iterdir()} == {*models, "build.json", "ENGINES.txt"}
    bundle = folder / "runs/small/bundle"
    for name in models:
        assert (bundle / "models" / name).read_bytes() == (build / name).read_bytes()
    assert (bundle / "models/ENGINES-jetson.txt").read_text() == (build / "ENGINES.txt").read_text()
    assert "For jetson: models/student.trt.onnx" in (bundle / "MODEL_CARD.md").read_text()
    step = next(one for one in document["stages"] if (one["name"], one.get("target")) == ("build", "jetson"))
    assert step["why"] == "files and commands only: no host is given: --host jetson=[user@]HOST"


def test_a_second_run_reuses_every_step_and_never_imports_torch(walked):
    folder, first = walked
    again = edgekd("pipeline", "small.yaml", "--json", cwd=folder, before=NO_TORCH)
    assert again.returncode == 0, again.stderr
    document = document_of(again)
    assert {statuses(document)[name] for name in RAN} == {"cached"}
    assert document["test_opened"] == 1
    assert [step["measurements"] for step in document["stages"]] == [step["measurements"] for step in first["stages"]]


def test_a_changed_judging_bound_judges_again_without_running_anything(walked):
    folder, _ = walked
    words = ("pipeline", "small.yaml", "--json", "--set", "gates.benchmark.cpu.top1_drop.max=-0.9")
    assert (folder / "runs/small/bundle/manifest.json").exists()
    failed = edgekd(*words, cwd=folder, before=NO_TORCH)
    assert (failed.returncode, document_of(failed)["verdict"]) == (3, "FAIL")
    assert statuses(document_of(failed))["cpu/benchmark"] == "cached"
    assert statuses(document_of(failed))["bundle"] == "skipped"
    assert not (folder / "runs/small/bundle").exists()  # no app picks up what this verdict did not pass
    assert edgekd("pipeline", "small.yaml", "-q", cwd=folder, before=NO_TORCH).returncode == 0


def test_a_deciding_bound_that_ptq_misses_starts_qat_and_trains_nothing_before_it(walked):
    folder, _ = walked
    words = ("pipeline", "small.yaml", "--json", "--until", "quantize", "--set", "quantize.mode=auto")
    first = document_of(edgekd(*words, cwd=folder))
    second = document_of(edgekd(*words, "--set", "gates.quantize.top1_drop.max=-0.9", cwd=folder))
    assert [statuses(one)["distill"] for one in (first, second)] == ["cached", "cached"]
    assert [statuses(one)["quantize"] for one in (first, second)] == ["done", "done"]
    why = [next(step for step in one["stages"] if step["name"] == "quantize")["notes"]["decided_by"] for one in (first, second)]
    assert why[0] == "PTQ holds the quantize gates"
    assert why[1].startswith("PTQ misses the gate on top1_drop") and "with QAT" in why[1]
    assert edgekd("pipeline", "small.yaml", "-q", cwd=folder).returncode == 0  # the session's run as it was


def test_the_closing_screen_names_what_was_not_measured_and_where_the_bundle_is(walked):
    folder, _ = walked
    shown = edgekd("pipeline", "small.yaml", cwd=folder)
    assert "bundle  runs/small/bundle" in shown.stdout
    assert shown.stdout.rstrip().splitlines()[-1].startswith("PASS on cpu; jetson NOT MEASURED")
    assert "reused" in shown.stdout


@pytest.fixture(scope="session")
def image(walked):
    """(PNG file of a held-out digit, its label)."""
    folder, _ = walked
    held_out = open_dataset(load(folder / "small.yaml").data, root=None).held_out
    Image.fromarray(held_out.images[0]).save(folder / "digit.png")
    return folder / "digit.png", str(held_out.labels[0])


def test_an_app_without_torch_gets_the_same_class_from_library_command_and_zipapp(walked, image):
    folder, _ = walked
    bundle, (path, _) = folder / "runs/small/bundle", image
    program = (
        f"import sys; {NO_TORCH}\nfrom edgekd.runtime import load\nprint(load(sys.argv[1]).predict([sys.argv[2]])[0]['label'])"
    )
    library = subprocess.run(
        [sys.executable, "-c", program, bundle, path], capture_output=True, text=True, check=True
    ).stdout.strip()
    command = document_of(edgekd("predict", bundle, path, "--json", cwd=folder, before=NO_TORCH))["predictions"][0]["label"]
    zipapp = subprocess.run(
        [sys.executable, bundle / "edgekd.pyz", "predict", path, "--json"], capture_output=True, text=True, check=True
    )
    assert library == command == json.loads(zipapp.stdout)["predictions"][0]["label"]


def test_the_bundle_gives_what_the_benchmark_measured_on_the_test_images(walked):
    folder, document = walked
    from edgekd.runtime import load as load_bundle

    test = open_dataset(load(folder / "small.yaml").data, root=None).test
    found = load_bundle(folder / "runs/small/bundle").logits_of_pixels(test.images)
    written = np.load(folder / "runs/small/cpu/benchmark/logits-int8.npy")
    assert (found.argmax(1) == written.argmax(1)).all()
    benchmark = next(step for step in document["stages"] if step["name"] == "benchmark" and step["target"] == "cpu")
    top1 = next(one for one in benchmark["measurements"] if one["name"] == "top1")
    assert top1["value"] == (found.argmax(1) == test.labels).mean()


def test_a_flipped_bit_in_a_bundle_is_told_with_exit_code_7(walked, tmp_path):
    folder, _ = walked
    shutil.copytree(folder / "runs/small/bundle", tmp_path / "bundle")
    model = tmp_path / "bundle/models/student.ort.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    found = edgekd("bundle", "verify", tmp_path / "bundle", cwd=tmp_path)
    assert (found.returncode, "student.ort.onnx" in found.stderr) == (7, True)
    assert edgekd("bundle", "verify", folder / "runs/small/bundle", cwd=tmp_path).returncode == 0


def test_a_trained_student_with_method_none_skips_training(walked, tmp_path):
    folder, first = walked
    shutil.copy(folder / "runs/small/distill/student.safetensors", tmp_path / "trained.safetensors")
    shutil.copy(folder / "runs/small/teacher/teacher.safetensors", tmp_path / "teacher.safetensors")
    recipe = RECIPE.replace("epochs: 3}\nstudent: {model: mobilenet_v2, width: 0.35}", "weights: ./teacher.safetensors}\n"
                            "student: {model: mobilenet_v2, width: 0.35, weights: ./trained.safetensors}")  # fmt: skip
    recipe = recipe.replace("{method: sld, epochs: 3}", "{method: none}")
    (tmp_path / "given.yaml").write_text(recipe)
    document = document_of(edgekd("pipeline", "given.yaml", "--json", cwd=tmp_path))
    assert document["verdict"] == "PASS"

    def top1(one, stage):
        return next(m for step in one["stages"] if step["name"] == stage for m in step["measurements"] if m["name"] == "top1")[
            "value"
        ]

    assert (top1(document, "teacher"), top1(document, "distill")) == (top1(first, "teacher"), top1(first, "distill"))
    assert not (tmp_path / "runs/small/distill/curves.json").exists()


@pytest.mark.parametrize(("method", "student"), [("kd", "resnet18, width: 0.125"), ("label", "shufflenet_v2_x0_5")])
def test_an_image_folder_of_photographs_walks_with_other_methods_and_students(tmp_path, method, student):
    digits = open_dataset(load_text(tmp_path), root=None).train
    for split, start, stop in (("train", 0, 60), ("val", 60, 80)):
        for label in range(3):
            rows = [row for row in range(len(digits)) if digits.labels[row] == label][start // 3 : stop // 3 + 8]
            place = tmp_path / "images" / split / f"klasse {label}"
            place.mkdir(parents=True)
            for row in rows:
                Image.fromarray(digits.images[row]).convert("L").save(place / f"{row} ü.png")
    (tmp_path / "folder.yaml").write_text(
        RECIPE.replace("source: digits, image_size: 32", "source: imagefolder, path: images, image_size: 32, hflip: false")
        .replace("mobilenet_v2, width: 0.35", student)
        .replace("method: sld, epochs: 3", f"method: {method}, epochs: 1, batch_size: 16")
        .replace("epochs: 3}", "epochs: 1, batch_size: 16}")
        .split("gates:")[0]
    )  # fmt: skip
    finished = edgekd("pipeline", "folder.yaml", "--json", cwd=tmp_path)
    document = document_of(finished)
    assert (finished.returncode, document["verdict"]) == (4, "INCONCLUSIVE"), finished.stdout  # it sets no gates
    assert document["data"]["classes"] == ["klasse 0", "klasse 1", "klasse 2"]
    assert json.loads((tmp_path / "runs/small/bundle/labels.json").read_text()) == ["klasse 0", "klasse 1", "klasse 2"]


def load_text(folder):
    (folder / "digits.yaml").write_text(RECIPE)
    return load(folder / "digits.yaml").data
