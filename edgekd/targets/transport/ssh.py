"""A device elsewhere, reached by OpenSSH: a private work folder there, files sent once by their hash, one agent call at a time.

An agent is called with its stdin kept open: when the connection ends, for whatever reason, it ends with its children.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from edgekd.core import DeviceError, EdgekdError
from edgekd.targets.host import Host
from edgekd.targets.transport import MOST_REPLY_BYTES, Answer, remote
from edgekd.targets.transport.scripts import LostError, Scripts
from edgekd.targets.transport.sent import SentFiles

OLDEST_PYTHON = (3, 6)
_CLOSE_S = 15.0


class SshTransport:
    """name: the target's, for messages. python: the interpreter there. Raises DeviceError where the device cannot be used."""

    def __init__(self, name: str, host: Host, python: str, ssh_config: Path | None = None) -> None:
        self._name, self._python = name, python
        self._scripts = Scripts(name, host, ssh_config)
        try:
            self._work, sent = self._opened()
            self._files = SentFiles(self._scripts, self._work, sent, python)
        except BaseException:
            self._scripts.close()
            raise

    @property
    def workdir(self) -> str:
        return self._work

    def put(self, source: Path, name: str) -> None:
        self._files.put(source, name)

    def get(self, name: str) -> Path:
        """A copy on this machine, gone when the connection closes; whoever asked compares its sha256."""
        return self._files.get(name)

    def call(self, arguments: list[str], request: bytes, timeout_s: float) -> Answer:
        """Run the agent to its end, or to the end of the connection: it is not called again by itself."""
        where = self._scripts.where(arguments[1] if len(arguments) > 1 else "call")
        script = remote.agent(self._work, self._python, arguments)
        try:
            ran = self._scripts.run(script, where, request + b"\n", timeout_s, MOST_REPLY_BYTES)
        except LostError as lost:
            raise lost.error from None
        except TimeoutError as hung:
            return Answer(None, b"", str(hung).encode())
        if ran.status == remote.NOT_THERE and not ran.body.strip():
            fix = "was the device restarted, or its cache emptied? The same command goes on where this stopped"
            raise DeviceError("the work folder on the device is gone", where=where, seen=ran.said, fix=fix)
        return Answer(128 - ran.status if ran.status > 128 else ran.status, ran.body, ran.stderr)

    def close(self) -> None:
        """Remove the work folder there, unless the connection was lost: then the next run's first call does, a day later."""
        try:
            if not self._scripts.lost:
                self._remove(self._work, "close")
        finally:
            self._scripts.close()
            self._files.close()

    def _remove(self, work: str, verb: str) -> None:
        with suppress(LostError, TimeoutError, EdgekdError):
            self._scripts.run(remote.removed(work), self._scripts.where(verb), timeout_s=_CLOSE_S)

    def _opened(self) -> tuple[str, str]:
        """(work folder, folder of sent files) there, when the device has a Python that runs the agent."""
        where, by_hand = self._scripts.where("connect"), self._scripts.by_hand
        try:
            ran = self._scripts.run(remote.opened(self._python), where)
        except LostError as lost:
            raise lost.error from None
        except TimeoutError as error:
            raise DeviceError("the device does not answer", where=where, seen=str(error), fix=f"try: {by_hand}") from None
        if ran.status == remote.REFUSED:
            raise ran.refusal(where, "no work folder can be made on the device")
        work, sent, *said = (ran.body.decode("utf-8", "replace").strip("\n") + "\n").split("\n")  # all missing: it was killed
        try:
            self._require_python(ran.status, said, where)
        except DeviceError:
            self._remove(work, "connect")
            raise
        return work, sent

    def _require_python(self, status: int, said: list[str], where: str) -> None:
        """said: the lines that Python printed there. Raises DeviceError."""
        lines = [line for line in said if line.strip()]
        version = re.fullmatch(r"([0-9]+)\.([0-9]+)", lines[-1].strip()) if lines else None
        if status or version is None:
            seen, place = " ".join(lines)[-300:] or f"status {status}", f"targets.{self._name}.python"
            fix = f"install it there (Debian, Ubuntu, Jetson: sudo apt install python3), or name one: {place}"
            raise DeviceError(f"there is no {self._python} on the device that runs", where=where, seen=seen, fix=fix)
        if (int(version[1]), int(version[2])) < OLDEST_PYTHON:
            fix = f"Python 3.6 or newer, named by targets.{self._name}.python"
            raise DeviceError(f"{self._python} on the device is too old", where=where, seen=version[0], fix=fix)
