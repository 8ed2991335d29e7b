"""What goes wrong in a real chain ends with the right exit code, says what to do, and loses nothing that was finished."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from kills import RECIPE, children, start, steps_done, told, wait_until
from PIL import Image
from small_chain import document_of, edgekd, statuses

# The stages before the first training have nothing to do with these faults, and time a device.
NO_SKETCH = (
    "import edgekd.pipeline.chain as c, edgekd.pipeline.making as r; "
    "c.CHAIN = r.CHAIN = tuple(stage for stage in c.CHAIN if stage.name not in ('sketch', 'preflight')); "
)


@pytest.fixture
def tiny(tmp_path):
    """``edgekd pipeline`` on a tiny recipe, in a process of its own."""

    def run(*words, before="", recipe=RECIPE, **options):
        (tmp_path / "tiny.yaml").write_text(recipe)
        return edgekd("pipeline", "tiny.yaml", "--json", *words, cwd=tmp_path, before=NO_SKETCH + before, **options)

    return run


@pytest.fixture
def started(tmp_path):
    """A run that has finished its teacher and is in the middle of distilling: its process, and its worker's id."""
    process = start(tmp_path, "--set", "distill.epochs=100")
    wait_until(lambda: steps_done(tmp_path, "distill") > 0, process)
    assert process.poll() is None, (tmp_path / "progress.txt").read_text()
    (worker,) = children(process.pid)
    yield process, worker
    process.kill()
    process.wait()


def ends(pid):
    """Whether the process is gone, or goes within half a minute."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_a_run_killed_with_kill_9_leaves_no_worker_and_goes_on_at_the_last_finished_step(started, tiny):
    process, worker = started
    process.kill()
    process.wait()
    assert ends(worker)
    resumed = document_of(tiny("--until", "distill", "--set", "distill.epochs=1"))
    assert statuses(resumed)["teacher"] == "cached"


def test_a_run_interrupted_in_a_training_says_so_writes_its_report_and_leaves_no_worker(started, tmp_path):
    process, worker = started
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    document = json.loads((tmp_path / "runs/tiny/report.json").read_text())
    assert (document["exit_code"], document["verdict"], document["error"]["code"]) == (143, None, "interrupted")
    assert (statuses(document)["teacher"], statuses(document)["distill"]) == ("done", "failed")
    assert (tmp_path / "runs/tiny/report.html").exists()
    assert document["resume"].startswith("edgekd pipeline tiny.yaml")
    assert ends(worker)


def test_a_worker_killed_for_want_of_memory_is_named_and_the_report_is_written(started, tmp_path):
    process, worker = started
    subprocess.run(["kill", "-9", str(worker)], check=True)  # as the system's out-of-memory killer does it
    assert process.wait(60) == 5
    error = json.loads((tmp_path / "runs/tiny/report.json").read_text())["error"]
    assert (error["code"], error["seen"]) == ("environment", "log: runs/tiny/worker.log")
    assert "SIGKILL" in error["what"] and "memory" in error["what"] and "batch_size" in error["fix"]
    assert told(tmp_path)[-1].startswith("distill: failed: ")


def test_without_torch_the_pipeline_ends_with_5_and_the_line_to_install(tiny):
    refused = tiny(before="sys.modules['torch'] = None")
    assert refused.returncode == 5
    assert "pip install 'edgekd[train]'" in refused.stdout
    assert "Traceback" not in refused.stderr


def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_learning_rate(tiny):
    extreme = {"learning_rate": 100, "warmup": 0, "momentum": 0.999, "weight_decay": 1000}
    diverged = tiny(*(word for key, value in extreme.items() for word in ("--set", f"teacher.{key}={value}")))
    document = document_of(diverged)
    assert diverged.returncode == 2
    assert "diverged" in document["error"]["what"]
    assert "teacher.learning_rate" in document["error"]["fix"]
    assert statuses(document)["teacher"] == "failed"


def test_a_full_disk_is_told_before_the_work(tiny):
    full = "import shutil; usage = shutil.disk_usage; shutil.disk_usage = lambda path: usage(path)._replace(free=1000)"
    refused = tiny(before=full)
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


def test_a_disk_that_fills_up_while_a_step_is_written_is_told_and_leaves_nothing_half_done(tiny, mounted):
    small = mounted("size=1500k")
    wide = RECIPE.replace("width: 0.125, epochs: 2", "width: 0.5, epochs: 1")
    refused = tiny("--run-dir", "small/run", before="r.LEAST_FREE_BYTES = 0", recipe=wide)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "no space left" in refused.stdout
    assert not [one for one in small.rglob("*") if one.name.endswith(".part")]
    assert not list(small.rglob("outcome.json"))


def test_a_read_only_file_system_is_told_with_its_place(tiny, mounted):
    mounted("ro")
    refused = tiny("--run-dir", "small/run")
    assert (refused.returncode, "Traceback" in refused.stderr) == (5, False)
    assert "read-only" in refused.stderr
    assert "small/run" in refused.stderr


def test_a_corrupt_image_is_named_and_counted_before_any_training(tiny, tmp_path):
    for split in ("train", "val"):
        for label in ("a", "b"):
            place = tmp_path / "images" / split / label
            place.mkdir(parents=True)
            for number in range(12):
                Image.new("L", (32, 32), number * 9 + (label == "b") * 100).save(place / f"{number}.png")
    (tmp_path / "images/val/b/3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    refused = tiny(recipe=RECIPE.replace("source: digits,", "source: imagefolder, path: images,"))
    document = document_of(refused)
    assert refused.returncode == 2
    assert document["error"]["what"] == "1 of 48 images cannot be read"
    assert document["error"]["seen"].startswith("b/3.png (not a readable image")
    assert statuses(document)["teacher"] == "failed"


def test_a_gpu_that_is_not_there_is_told_with_the_way_out(tiny):
    refused = tiny("--set", "compute.device=cuda", env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"})
    assert (refused.returncode, document_of(refused)["error"]["where"]) == (2, "compute.device")
    assert "CUDA" in document_of(refused)["error"]["what"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("student.model=mobilenet_v9", "did you mean mobilenet_v2"),
        ("gates={teacher: {topp1: {min: 0.5}}}", "top1"),
        ("targets.cpu.device=jetson-orin-nanoo", "jetson-orin-nano"),
        ("data={source: imagefolder, path: nowhere, image_size: 32}", "nowhere"),
        ("teacher.weights=./missing.safetensors", "missing.safetensors"),
    ],
)
def test_what_cannot_run_is_refused_with_the_place_and_the_fix_and_makes_no_folder(tiny, tmp_path, change, said):
    refused = tiny("--set", change)
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert said in refused.stderr
    assert not (tmp_path / "runs").exists()
