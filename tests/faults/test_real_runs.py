"""What goes wrong ends with the right exit code, says what to do, and loses nothing that was finished."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_chain import RECIPE, document_of, edgekd, statuses

NO_GATES = RECIPE.split("gates:")[0]  # the nets below learn too little to hold any
TINY = NO_GATES.replace("width: 0.25, epochs: 3", "width: 0.125, epochs: 1").replace("sld, epochs: 3", "label, epochs: 40")


@pytest.fixture
def started(tmp_path):
    """A run that has finished its teacher and is in the middle of distilling; returns its process."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "edgekd", "pipeline", "tiny.yaml", "--until", "distill", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    store, deadline = tmp_path / "runs/.store", time.monotonic() + 300
    while not (list(store.glob("[!.]*/teacher.safetensors")) and list(store.glob(".*.part"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.0)
    yield process
    process.kill()
    process.communicate()


def workers_of(folder):
    """Processes of the worker whose working folder is ``folder``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"edgekd.stages.worker" in (entry / "cmdline").read_bytes() and (entry / "cwd").readlink() == folder:
                found.append(entry.name)
        except OSError:
            continue
    return found


def resumed(tmp_path):
    return document_of(edgekd("pipeline", "tiny.yaml", "--until", "distill", "--json", "--set", "distill.epochs=1", cwd=tmp_path))


def test_a_run_killed_with_kill_9_leaves_no_worker_and_goes_on_at_the_last_finished_step(started, tmp_path):
    started.send_signal(signal.SIGKILL)
    started.wait()
    deadline = time.monotonic() + 30
    while workers_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers_of(tmp_path)
    assert statuses(resumed(tmp_path))["teacher"] == "cached"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_run_says_so_writes_its_report_and_leaves_no_worker(started, tmp_path, number, code):
    started.send_signal(number)
    out, _ = started.communicate(timeout=60)
    document = json.loads(out)
    assert (started.returncode, document["exit_code"], document["verdict"]) == (code, code, None)
    assert document["error"]["code"] == "interrupted"
    assert (statuses(document)["teacher"], statuses(document)["distill"]) == ("done", "failed")
    assert (tmp_path / "runs/small/report.html").exists()
    assert document["resume"].startswith("edgekd pipeline tiny.yaml")
    assert not workers_of(tmp_path)


def test_a_second_process_on_the_same_run_is_refused_and_the_first_goes_on(started, tmp_path):
    second = edgekd("pipeline", "tiny.yaml", "--json", cwd=tmp_path)
    assert (second.returncode, str(started.pid) in document_of(second)["error"]["seen"]) == (8, True)
    assert started.poll() is None


def test_without_torch_the_pipeline_ends_with_5_and_the_line_to_install(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    refused = edgekd("pipeline", "tiny.yaml", cwd=tmp_path, before="sys.modules['torch'] = None")
    assert refused.returncode == 5
    assert "pip install 'edgekd[train]'" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("section", ["teacher", "distill"])
def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_learning_rate(tmp_path, section):
    (tmp_path / "tiny.yaml").write_text(TINY.replace("epochs: 40", "epochs: 2"))
    words = ("--set", f"{section}.learning_rate=100", "--set", f"{section}.warmup=0", "--set", f"{section}.momentum=0.999")
    diverged = edgekd("pipeline", "tiny.yaml", "--json", *words, "--set", f"{section}.weight_decay=1000", cwd=tmp_path)
    document = document_of(diverged)
    assert diverged.returncode == 2
    assert "diverged" in document["error"]["what"]
    assert f"{section}.learning_rate" in document["error"]["fix"]
    assert statuses(document)[section] == "failed"


def test_a_full_disk_is_told_before_the_work(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    full = "import shutil; usage = shutil.disk_usage; shutil.disk_usage = lambda path: usage(path)._replace(free=1000)"
    refused = edgekd("pipeline", "tiny.yaml", "--json", cwd=tmp_path, before=full)
    assert (refused.returncode, document_of(refused)["error"]["code"]) == (5, "environment")
    assert "free on the disk" in document_of(refused)["error"]["what"]


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system at tmp_path/small with the given options; skips where that is not allowed."""
    small = tmp_path / "small"
    small.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", small]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no mount here: {done.stderr.strip()}")
        return small

    yield mount
    if small.is_mount():
        subprocess.run(["umount", small], check=True)


def test_a_disk_that_fills_up_while_a_step_is_written_is_told_and_leaves_nothing_half_done(tmp_path, mounted):
    small = mounted("size=1500k")
    (tmp_path / "tiny.yaml").write_text(TINY.replace("width: 0.125, epochs: 1", "width: 0.5, epochs: 1"))
    roomy = "import edgekd.pipeline.runner as r; r.LEAST_FREE_BYTES = 0"
    words = ("pipeline", "tiny.yaml", "--run-dir", "small/run", "--json", "--until", "teacher")
    refused = edgekd(*words, cwd=tmp_path, before=roomy)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "no space left" in refused.stdout
    assert not [one for one in small.rglob("*") if one.name.endswith(".part")]
    assert not list(small.rglob("outcome.json"))


def test_a_read_only_folder_is_told_with_its_place(tmp_path, mounted):
    mounted("ro")
    (tmp_path / "tiny.yaml").write_text(TINY)
    refused = edgekd("pipeline", "tiny.yaml", "--run-dir", "small/run", cwd=tmp_path)
    assert (refused.returncode, "Traceback" in refused.stderr) == (5, False)
    assert "read-only" in refused.stderr
    assert "small/run" in refused.stderr


def test_a_corrupt_image_is_named_and_counted_before_any_training(tmp_path):
    from PIL import Image

    for split in ("train", "val"):
        for label in ("a", "b"):
            place = tmp_path / "images" / split / label
            place.mkdir(parents=True)
            for number in range(12):
                Image.new("L", (32, 32), number * 9 + (label == "b") * 100).save(place / f"{number}.png")
    (tmp_path / "images/val/b/3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "tiny.yaml").write_text(TINY.replace("source: digits,", "source: imagefolder, path: images,"))
    refused = edgekd("pipeline", "tiny.yaml", "--json", cwd=tmp_path)
    document = document_of(refused)
    assert refused.returncode == 2
    assert "3.png" in json.dumps(document["error"])
    assert statuses(document)["teacher"] == "failed"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("student.model=mobilenet_v9", 2, "did you mean mobilenet_v2"),
        ("gates={teacher: {topp1: {min: 0.5}}}", 2, "top1"),
        ("targets.cpu.device=jetson-orin-nanoo", 2, "jetson-orin-nano"),
        ("data.image_size=4", 2, "8..1024"),
        ("data={source: imagefolder, path: nowhere, image_size: 32}", 2, "nowhere"),
        ("teacher.weights=./missing.safetensors", 2, "missing.safetensors"),
        ("compute.device=cuda", 2, "CUDA"),
    ],
)
def test_what_cannot_run_is_refused_with_the_place_and_the_fix(tmp_path, change, code, said):
    (tmp_path / "tiny.yaml").write_text(TINY)
    refused = edgekd("pipeline", "tiny.yaml", "--set", change, cwd=tmp_path)
    assert (refused.returncode, "Traceback" in refused.stderr) == (code, False)
    assert said in refused.stderr + refused.stdout
