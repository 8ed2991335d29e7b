"""The worker's end: what it keeps when it is asked to stop, and that it never outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd.core import Interrupted
from edgekd.pipeline import worker as room
from edgekd.pipeline.worker import Worker
from edgekd.recipe import load

RECIPE = """\
edgekd: 1
name: toy
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
"""


@pytest.fixture
def request_for(tmp_path, monkeypatch):
    """A request for a toy stage, as the runner makes it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    (tmp_path / "toy.yaml").write_text(RECIPE)
    recipe = load(tmp_path / "toy.yaml")
    places = {name: str(tmp_path / name) for name in ("folder", "cache", "checkpoint")}
    document = {**recipe.as_json(), "folder": str(tmp_path)}
    same = {"recipe": document, "target": None, "inputs": {}, "smoke": False, "last": False, **places}
    return lambda stage: {"entry": f"toy_stages:{stage}", **same}


def run_until_told(worker, request, number):
    """Run the stage; at its first word, be interrupted as the command is by a signal."""

    def on_progress(event):
        raise Interrupted(number)

    with pytest.raises(Interrupted):
        worker.run(request, on_progress)


def pid_of(worker):
    return worker._process.pid


def alive(pid):
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for_the_end_of(pid, most_s=30.0):
    deadline = time.monotonic() + most_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize("stage", ["trains", "computes"])
def test_a_worker_that_is_closed_keeps_its_training_and_ends_at_once_without_one(stage, request_for, tmp_path):
    with Worker(tmp_path / "log") as worker:
        run_until_told(worker, request_for(stage), signal.SIGINT)
        pid = pid_of(worker)
    assert not alive(pid)
    kept = tmp_path / "checkpoint/kept.txt"
    assert (kept.read_text() if kept.exists() else None) == {"trains": "SIGTERM", "computes": None}[stage]


def test_a_second_signal_ends_a_worker_that_does_not_hear(request_for, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY", "stubborn")
    waited = []

    def interrupted_again(process, timeout=None):
        waited.append(timeout)
        if timeout == room.GRACE_S:
            raise Interrupted(signal.SIGINT)
        return wait(process, timeout)

    with Worker(tmp_path / "log") as worker:
        run_until_told(worker, request_for("trains"), signal.SIGINT)
        pid, wait = pid_of(worker), subprocess.Popen.wait
        monkeypatch.setattr(subprocess.Popen, "wait", interrupted_again)
    assert waited == [room.GRACE_S, None]
    assert not alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_ended_by_a_signal_of_its_own_keeps_its_training_and_the_run_ends_by_it_too(number, request_for, tmp_path):
    with Worker(tmp_path / "log") as worker, pytest.raises(Interrupted) as ended:
        worker.run(request_for("trains"), lambda event: os.kill(pid_of(worker), number))
    assert ended.value.exit_code == 128 + number
    assert (tmp_path / "checkpoint/kept.txt").read_text() == number.name


@pytest.mark.parametrize(("stage", "toy"), [("trains", ""), ("trains", "stubborn"), ("computes", "")])
def test_no_worker_outlives_its_parent(stage, toy, request_for, tmp_path, monkeypatch):
    """The parent is killed with SIGKILL: a training is kept, and the worker ends, also one that would not."""
    monkeypatch.setenv("TOY", toy)
    shorter = "import edgekd.stages.stop as stop; stop.LAST_WORDS_S = 0.5"
    (tmp_path / "sitecustomize.py").write_text(shorter)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parent)]))
    program = f"""if True:
        from pathlib import Path
        from edgekd.pipeline.worker import Worker
        worker = Worker(Path({str(tmp_path / "log")!r}))
        worker.run({request_for(stage)!r}, lambda event: print(worker._process.pid, flush=True))
    """
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert wait_for_the_end_of(pid)
    kept = tmp_path / "checkpoint/kept.txt"
    assert (kept.read_text() if kept.exists() else "") == ("SIGHUP" if (stage, toy) == ("trains", "") else "")
