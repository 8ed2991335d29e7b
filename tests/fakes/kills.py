"""A small real chain, killed with SIGKILL while it walks and started again with the same command until it is done."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

RECIPE = """\
edgekd: 1
name: tiny
compute: {threads: 1}
data: {source: digits, image_size: 8}
teacher: {model: resnet18, width: 0.125, epochs: 2}
student: {model: mobilenet_v2, width: 0.25}
distill: {method: sld, epochs: 2}
quantize: {mode: qat, epochs: 2, calibration_images: 32}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
"""
# Only what trains, and what is made of it: the stages before it time a device. Progress is told at every step.
_PROGRAM = """\
import sys
import edgekd.cli.progress, edgekd.pipeline.chain as chain
edgekd.cli.progress.PLAIN_EVERY_S = 0.0
chain.CHAIN = tuple(stage for stage in chain.CHAIN if stage.name not in ("sketch", "preflight"))
from edgekd.cli import main
main(sys.argv[1:])
"""
WHO = ("parent and worker", "parent", "worker")


def start(folder: Path, *words: str) -> subprocess.Popen:
    """The same command each time, what it tells in ``folder``/progress.txt."""
    (folder / "tiny.yaml").write_text(RECIPE)
    with (folder / "progress.txt").open("w") as told:
        command = [sys.executable, "-c", _PROGRAM, "pipeline", "tiny.yaml", "--until", "export", *words]
        return subprocess.Popen(command, cwd=folder, stdout=told, stderr=told, env={**os.environ, "OMP_NUM_THREADS": "1"})


def kill(process: subprocess.Popen, who: str) -> None:
    """SIGKILL for the command, for its worker (for the command if it has none), or for both; waits for the command's end."""
    workers = children(process.pid)
    for pid in [*([process.pid] if "parent" in who or not workers else []), *(workers if "worker" in who else [])]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []


def told(folder: Path) -> list[str]:
    """Lines of progress of the command now or last running there."""
    return [line for line in (folder / "progress.txt").read_text().splitlines() if re.match(r"[a-z]+: ", line)]


def steps_done(folder: Path, training: str) -> int:
    """How far the command now running there is in this training."""
    found = [re.match(rf"{training}: (\d+)/.*loss", line) for line in told(folder)]
    return max([0, *(int(one[1]) for one in found if one)])


def resumption(folder: Path) -> str:
    """Where that command took trainings up again."""
    found = [re.search(r"(\w+): .*resumed at step (\d+) of", line) for line in told(folder)]
    return ", ".join(dict.fromkeys(f"{one[1]} at step {one[2]}" for one in found if one))


def wait_until(ready, process: subprocess.Popen, *, most_s: float = 300.0) -> None:
    """Until ``ready()`` is true or the process has ended."""
    deadline = time.monotonic() + most_s
    while not ready() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every network the run made."""
    run = folder / "runs/tiny"
    paths = [path for path in run.rglob("*") if path.suffix in (".safetensors", ".onnx")]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
