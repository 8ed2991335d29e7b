"""A real sweep by the commands a user types: two methods, both at once, stopped in the middle and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from kills import children
from small_chain import document_of, edgekd

RECIPE = """\
edgekd: 1
name: tiny
compute: {threads: 1}
data: {source: digits, image_size: 8, train_per_class: 4}
teacher: {model: resnet18, width: 0.125, epochs: 1, batch_size: 20}
student: {model: mobilenet_v2, width: 0.25}
distill: {method: kd, epochs: 2, batch_size: 20, temperature: 2}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
"""
WORDS = ("sweep", "tiny.yaml", "--vary", "distill.method=label,kd")
NO_TORCH = "sys.modules['torch'] = sys.modules['torchvision'] = sys.modules['onnx'] = None"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(folder, how the stopped command ended, the document of the one that went on)."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.yaml").write_text(RECIPE)
    command = [sys.executable, "-c", "from edgekd.cli import main; main()", *WORDS, "--jobs", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stderr:
            if line.startswith("for all: teacher: done"):
                break
        while not (started := children(process.pid)) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    finished = edgekd(*WORDS, "--jobs", "2", "--json", cwd=folder, env=environment)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder, (process.returncode, [pid for pid in started if children(pid)]), document_of(finished)


def test_a_stopped_sweep_ends_its_runs_and_says_by_what(swept):
    _, (code, alive), _ = swept
    assert (code, alive) == (143, [])


def test_the_same_command_finishes_it_with_one_teacher_and_every_run_measured(swept):
    folder, _, document = swept
    made = [json.loads(path.read_text())["made_from"]["stage"] for path in folder.glob("runs/.store/*/outcome.json")]
    assert sorted(made) == ["distill"] * 2 + ["exam"] * 2 + ["teacher", "teacher_exam"]
    runs = [run for arm in document["arms"] for run in arm["runs"]]
    assert [run["error"] for run in runs] == [None] * 2
    assert {run["test_top1"]["n"] for run in runs} == {document["data"]["counts"]["test"]}
    assert {(run["threads"], run["epochs"]) for run in runs} == {(1, 2)}
    assert all(run["seconds"] > 0 and run["cpu_seconds"] > 0 for run in runs)
    images = {arm["name"]: arm["runs"][0]["images"] for arm in document["arms"]}
    assert images == {"label": {"student": 80}, "kd": {"student": 80, "teacher": 80}}
    assert {arm["name"]: arm["left_out"] for arm in document["arms"]} == {"kd": [], "label": ["temperature"]}
    assert {path.name for path in (folder / document["sweep"]).iterdir()} >= {"sweep.json", "sweep.csv", "sweep.html"}


def test_again_it_makes_nothing_and_never_imports_torch(swept):
    folder, _, document = swept
    again = edgekd(*WORDS, "--json", cwd=folder, before=NO_TORCH)
    assert again.returncode == 0, again.stderr
    assert document_of(again)["arms"] == document["arms"]
    assert document_of(again)["test_opened"] == document["test_opened"]
    listed = edgekd(*WORDS, "--dry-run", cwd=folder, before=NO_TORCH)
    assert listed.stdout.endswith("2 arms × 1 seed: teacher 1 cached; distill 2 cached; exam 2 cached\n")


def test_its_runs_open_as_reports_and_compare_image_by_image(swept):
    folder, _, document = swept
    kd, label = (f"{document['sweep']}/{name}/seed-0" for name in ("kd", "label"))
    assert "exam" in edgekd("report", kd, cwd=folder).stdout
    compared = document_of(edgekd("compare", label, kd, "--json", cwd=folder))
    how = {one["step"]: one["how"] for one in compared["measurements"] if one["name"] == "top1"}
    assert how["exam"] == f"paired on {document['data']['counts']['test']} images" and how["teacher"] == "same step"


def test_a_typo_ends_with_2_before_anything_is_made(tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    wrong = edgekd("sweep", "tiny.yaml", "--vary", "distill.method=kd,sldd", "--json", cwd=tmp_path)
    assert (wrong.returncode, list(tmp_path.iterdir())) == (2, [tmp_path / "tiny.yaml"])
    assert document_of(wrong)["error"]["code"] == "recipe" and "did you mean 'sld'" in wrong.stderr
