"""This machine as a device: a child process in a folder of its own, spoken to as a remote one would be."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from edgekd.core import EnvironmentProblem
from edgekd.core.files import disk_problems, link_or_copy
from edgekd.targets.transport import MOST_REPLY_BYTES, Answer

_KEPT_VARIABLES = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "EDGEKD_DEVICE_ROOT", "CUDA_VISIBLE_DEVICES")


class LocalTransport:
    """This machine: a private temporary folder, and the same Python in a process group of its own with a clean environment."""

    def __init__(self) -> None:
        with disk_problems(Path(tempfile.gettempdir())):
            self._folder = Path(tempfile.mkdtemp(prefix="edgekd-"))

    @property
    def workdir(self) -> str:
        return str(self._folder)

    def put(self, source: Path, name: str) -> None:
        link_or_copy(source, self._folder / name)

    def get(self, name: str) -> Path:
        """The file's place on this machine, gone when the connection closes."""
        return self._folder / name

    def call(self, arguments: list[str], request: bytes, timeout_s: float) -> Answer:
        """Run the agent to its end; kill it and its children at the timeout, and when this process is interrupted."""
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | {"LC_ALL": "C.UTF-8"}
        # -E ignores PYTHON* variables; the zipapp, not the current folder, heads the module path. Files instead of pipes:
        # a child that never reads or writes without end blocks nobody.
        command = [sys.executable, "-E", str(self._folder / "edgekd.pyz"), *arguments]
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            stdin.write(request)
            stdin.seek(0)
            try:
                child = subprocess.Popen(
                    command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=self._folder, env=environment, start_new_session=True
                )
            except OSError as error:
                what = "the agent's process could not be started"
                raise EnvironmentProblem(what, where=sys.executable, seen=str(error)) from error
            try:
                status: int | None = child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                _kill_group(child)
            return Answer(status, _read(stdout), _read(stderr))

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """End a child that still runs, with its process group. One that ended has left nobody: the agent starts no processes."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MOST_REPLY_BYTES)
