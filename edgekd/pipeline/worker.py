"""The parent's end of the worker: start it, hand it steps, hear its progress, give its death a name."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgekd.core import EdgekdError, EnvironmentProblem, Interrupted, Outcome
from edgekd.core.errors import INSTALL_TRAINING

TRAINING_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "safetensors")
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE_S = 20.0  # for the step of a training under way, and its checkpoint


def require_training_packages() -> None:
    """Raise EnvironmentProblem with the line to install, without importing anything, if a training package is missing."""
    missing = [name for name in TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentProblem("training needs packages that are not installed", seen=", ".join(missing), fix=INSTALL_TRAINING)


class Worker:
    """A child process that runs torch steps one after another; a context manager. What libraries print goes to ``log``."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None

    def run(self, request: Mapping[str, Any], on_progress: Callable[[Mapping[str, Any]], None]) -> Outcome:
        """Run one stage (see ``stages.worker``). Raises what the stage raised; a dead worker is an EnvironmentProblem."""
        process, answers = self._started()
        if process.stdin is None:
            raise EdgekdError("the worker has no input", where="pipeline.worker")
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._death(process, request["entry"]) from None
        for line in answers:
            if not line.endswith("\n"):  # it died while it spoke
                break
            answer = json.loads(line)
            if "progress" in answer:
                on_progress(answer["progress"])
            elif "outcome" in answer:
                return Outcome.from_json(answer["outcome"])
            else:
                raise self._failure(answer["error"])
        raise self._death(process, request["entry"])

    def write_down(self, bug: EdgekdError, trace: str) -> None:
        """Put the traceback of a bug into the log, and the log's place into the error."""
        with self.log.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"\n{trace}\n")
        bug.seen = f"log: {self.log}"

    def close(self) -> None:
        """End the worker and its children; a training is kept first. Killed if it does not go in time, or at a second signal."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except (subprocess.TimeoutExpired, Interrupted) as ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(ended, Interrupted):
                raise
        finally:
            for stream in (process.stdin, self._answers):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def _started(self) -> tuple[subprocess.Popen[str], IO[str]]:
        if self._process is None or self._answers is None:
            require_training_packages()
            read_end, write_end = os.pipe()
            safe_path = ["-P"] if sys.version_info >= (3, 11) else []  # the user's folder must not shadow a library
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, *safe_path, "-m", "edgekd.stages.worker", str(write_end)],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(write_end,), start_new_session=True, text=True,
                )  # fmt: skip
            os.close(write_end)
            self._answers = os.fdopen(read_end, "r")
        return self._process, self._answers

    def _failure(self, document: Mapping[str, Any]) -> EdgekdError:
        error = EdgekdError.from_json(document)
        if document.get("traceback"):
            self.write_down(error, document["traceback"])
        return error

    def _death(self, process: subprocess.Popen[str], where: str) -> EdgekdError:
        code = process.wait()
        if -code in ENDING_SIGNALS:
            return Interrupted(-code, where=where)
        if code == -signal.SIGKILL:
            what = "the worker was killed (SIGKILL), most likely by the system for want of memory"
            return EnvironmentProblem(what, where=where, seen=f"log: {self.log}", fix="a smaller batch_size or image_size")
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return EdgekdError(f"the worker died ({how})", where=where, seen=f"log: {self.log}", fix="please report it with the log")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(Interrupted):  # a second signal: it asks for what is being done, only faster
            self.close()
