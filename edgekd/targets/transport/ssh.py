"""A device elsewhere, reached by OpenSSH: a private work folder there, files sent once by their hash, one agent call at a time.

An agent is called with its stdin kept open: when the connection ends, for whatever reason, it ends with its children.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from edgekd.core import DeviceError, EdgekdError, InputError, IntegrityError
from edgekd.core.files import disk_problems, sha256_of
from edgekd.targets.host import Host
from edgekd.targets.transport import MOST_REPLY_BYTES, Answer, remote
from edgekd.targets.transport.openssh import OpenSsh
from edgekd.targets.transport.trouble import trouble

MOST_FILE_BYTES, MOST_RESULT_BYTES = 4 << 30, 1 << 30
LEAST_BYTES_A_SECOND = 50_000  # a slower connection takes longer than a person waits
OLDEST_PYTHON = (3, 6)
_HELPER_S, _CLOSE_S = 60.0, 15.0
_SMALL = 64 << 10  # bytes that are sent without asking whether the device has them: asking takes as long
_MOST_HELPER_BYTES = 1 << 20
_SSH_FAILED = 255  # the exit status of ssh's own failures; others are of the shell there
_FULL = re.compile(r"No space left|File too large|[Qq]uota exceeded")
_Result = TypeVar("_Result")


class _LostError(Exception):
    """The connection ended before the command there did."""

    def __init__(self, error: DeviceError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class _Ran:
    """status: of the script on the device. body: what it printed between the markers."""

    status: int
    body: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        return " ".join((self.stderr or self.body)[-300:].decode("utf-8", "replace").split()) or f"status {self.status}"


class SshTransport:
    """name: the target's, for messages. python: the interpreter there. Raises DeviceError where the device cannot be used."""

    def __init__(self, name: str, host: Host, python: str, ssh_config: Path | None = None) -> None:
        self._name, self._host, self._python = name, host, python
        self._lost = False
        with disk_problems(Path(tempfile.gettempdir())):
            self._results = tempfile.TemporaryDirectory(prefix="edgekd-")
        self._ssh = OpenSsh(host, ssh_config)
        try:
            self._work, self._sent = self._opened()
        except BaseException:
            self._ssh.close()
            self._results.cleanup()
            raise

    @property
    def workdir(self) -> str:
        return self._work

    def put(self, source: Path, name: str) -> None:
        """Send what the device does not have yet; a connection that drops is opened again once, and it goes on where it was."""
        digest, size = sha256_of(source), source.stat().st_size
        if size > MOST_FILE_BYTES:
            fix = f"at most {MOST_FILE_BYTES >> 30} GiB are sent"
            raise InputError("this file is too large for a device", where=str(source), seen=f"{size:,} bytes", fix=fix)
        # What was there of it may be damaged, or another run may be sending the same: the second time it has a name of its own.
        for part in (f"{digest}.part", f"{digest}.{secrets.token_hex(4)}.part"):
            if self._again(partial(self._sent_from, source, name, digest, size, part)):
                break
        else:
            fix = (
                "if that repeats, check the device's disk and memory, and that nothing else takes what is sent:"
                " a read in ~/.bashrc there, StdinNull in your ssh config"
            )
            raise IntegrityError("a file arrived with other bytes, twice", where=self._where("send"), seen=source.name, fix=fix)

    def get(self, name: str) -> Path:
        """A copy on this machine, gone when the connection closes; whoever asked compares its sha256."""
        return self._again(lambda: self._fetched(name))

    def call(self, arguments: list[str], request: bytes, timeout_s: float) -> Answer:
        """Run the agent to its end, or to the end of the connection: it is not called again by itself."""
        where = self._where(arguments[1] if len(arguments) > 1 else "call")
        script = remote.agent(self._work, self._python, arguments)
        try:
            ran = self._run(script, where, request + b"\n", timeout_s, MOST_REPLY_BYTES)
        except _LostError as lost:
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
            if not self._lost:
                with suppress(_LostError, TimeoutError, EdgekdError):
                    self._run(remote.removed(self._work), self._where("close"), timeout_s=_CLOSE_S)
        finally:
            self._ssh.close()
            self._results.cleanup()

    def _opened(self) -> tuple[str, str]:
        """(work folder, folder of sent files) there, when the device has a Python that runs the agent."""
        where = self._where("connect")
        try:
            ran = self._run(remote.opened(self._python), where)
        except _LostError as lost:
            raise lost.error from None
        except TimeoutError as error:
            raise DeviceError("the device does not answer", where=where, seen=str(error), fix=f"try: {self._by_hand}") from None
        if ran.status == remote.REFUSED:
            raise self._refused(ran, where, "no work folder can be made on the device")
        work, sent, *said = (ran.body.decode("utf-8", "replace").strip("\n") + "\n").split("\n")  # all missing: it was killed
        try:
            self._require_python(ran.status, said, where)
        except DeviceError:
            with suppress(_LostError, TimeoutError, EdgekdError):
                self._run(remote.removed(work), where, timeout_s=_CLOSE_S)
            raise
        return work, sent

    def _require_python(self, status: int, said: list[str], where: str) -> None:
        """said: the lines that Python printed there. Raises DeviceError."""
        lines = [line for line in said if line.strip()]
        version = re.fullmatch(r"([0-9]+)\.([0-9]+)", lines[-1].strip()) if lines else None
        if status or version is None:
            seen = " ".join(lines)[-300:] or f"status {status}"
            fix = (
                "install it there (Debian, Ubuntu, Jetson: sudo apt install python3), or name one: targets."
                + self._name
                + ".python"
            )
            raise DeviceError(f"there is no {self._python} on the device that runs", where=where, seen=seen, fix=fix)
        if (int(version[1]), int(version[2])) < OLDEST_PYTHON:
            fix = f"Python 3.6 or newer, named by targets.{self._name}.python"
            raise DeviceError(f"{self._python} on the device is too old", where=where, seen=version[0], fix=fix)

    def _sent_from(self, source: Path, name: str, digest: str, size: int, part: str) -> bool:
        """Whether all bytes are there as they are here. part: the name of what is not whole."""
        there = 0 if size <= _SMALL else self._bytes_there(digest, part)
        if there is None:
            return self._placed(name, digest)
        start = there if there <= size else 0
        script = remote.received(self._sent, part, anew=start == 0)
        script += remote.placed(self._sent, digest, self._python, self._work, name, part=part)
        with source.open("rb") as file:
            file.seek(start)
            try:
                ran = self._run(script, self._where("send"), file, _HELPER_S + (size - start) / LEAST_BYTES_A_SECOND)
            except TimeoutError as error:
                fix = "a faster connection; the same command goes on where this stopped"
                what = f"sending {source.name} ({size:,} bytes) was too slow"
                raise DeviceError(what, where=self._where("send"), seen=str(error), fix=fix) from None
        return self._arrived(ran)

    def _placed(self, name: str, digest: str) -> bool:
        script = remote.placed(self._sent, digest, self._python, self._work, name, part=None)
        return self._arrived(self._in_time(script, "send"))

    def _arrived(self, ran: _Ran) -> bool:
        if ran.status in (0, remote.OTHER_BYTES):
            return ran.status == 0
        raise self._refused(ran, self._where("send"), "the device does not take the file")

    def _bytes_there(self, digest: str, part: str) -> int | None:
        """How many bytes of a file the device has; None for all of them."""
        said = self._in_time(remote.bytes_there(self._sent, digest, part), "send").body.split()
        return None if said == [b"all"] else int(said[0]) if said and said[0].isdigit() else 0

    def _fetched(self, name: str) -> Path:
        where = self._where("fetch")
        said = self._in_time(remote.size(self._work, name), "fetch")
        if said.status or not said.body.strip().isdigit():
            raise DeviceError("a result is not on the device any more", where=where, seen=f"{name}: {said.said}")
        size = int(said.body)
        if size > MOST_RESULT_BYTES:
            raise DeviceError("a result is too large", where=where, seen=f"{name}: {size:,} bytes")
        path = Path(self._results.name, secrets.token_hex(8))
        try:
            ran = self._run(remote.content(self._work, name), where, None, _HELPER_S + size / LEAST_BYTES_A_SECOND, size)
        except TimeoutError as error:
            raise DeviceError(f"fetching {name} ({size:,} bytes) was too slow", where=where, seen=str(error)) from None
        with disk_problems(path):
            path.write_bytes(ran.body)
        return path

    def _in_time(self, script: str, verb: str) -> _Ran:
        try:
            return self._run(script, self._where(verb))
        except TimeoutError as error:
            raise DeviceError("the device does not answer", where=self._where(verb), seen=str(error)) from None

    def _again(self, action: Callable[[], _Result]) -> _Result:
        """What may be done twice is, over a connection of its own, where the first one was lost."""
        try:
            return action()
        except _LostError:
            self._ssh.reconnect()
        try:
            done = action()
        except _LostError as lost:
            raise lost.error from None
        self._lost = False
        return done

    def _run(
        self,
        script: str,
        where: str,
        stdin: IO[bytes] | bytes | None = None,
        timeout_s: float = _HELPER_S,
        most: int = _MOST_HELPER_BYTES,
    ) -> _Ran:
        """Raises _LostError: ssh ended before the script did. TimeoutError. DeviceError: more came than ``most`` bytes."""
        token = secrets.token_hex(8)
        begin, end = f"\nEDGEKD-{token}-BEGIN\n".encode(), f"\nEDGEKD-{token}-END ".encode()
        with disk_problems(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as stdout:
            done = self._ssh.run(remote.bracketed(script, token), stdin, stdout, timeout_s, most + _MOST_HELPER_BYTES)
            stdout.seek(0)
            content = stdout.read()
            if end not in content and os.fstatvfs(stdout.fileno()).f_bavail == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # ssh could not write here what came
        _, begun, rest = content.partition(begin)
        body, ended, after = rest.rpartition(end)
        status, whole, _ = after.partition(b"\n")
        if begun and ended and whole and status.isdigit():
            return _Ran(int(status), body, done.stderr)
        if done.too_much:
            raise DeviceError("the device sends more than was asked for", where=where, seen=f"over {most:,} bytes")
        if done.status is None:
            raise TimeoutError(f"{self._by_hand}: nothing after {timeout_s:.0f} s")
        self._lost = True
        if not begun and 0 <= done.status != _SSH_FAILED:
            said = " ".join((done.stderr or content)[-300:].decode("utf-8", "replace").split()) or "nothing"
            fix = (
                f"{self._by_hand} true must end with 0: look for an exit in ~/.bashrc there, an account without a shell, or"
                " ForkAfterAuthentication and SessionType in your ssh config"
            )
            what = f"the login shell on the device ended with {done.status} before it ran our command"
            raise DeviceError(what, where=where, seen=said, fix=fix)
        raise _LostError(trouble(done.stderr, self._by_hand, where))

    def _refused(self, ran: _Ran, where: str, what: str) -> DeviceError:
        if _FULL.search(ran.said):
            fix = "free some space on the device; ~/.cache/edgekd there may be removed"
            return DeviceError("the device's disk is full", where=where, seen=ran.said, fix=fix)
        return DeviceError(what, where=where, seen=ran.said, fix="may this user write to ~/.cache there?")

    def _where(self, verb: str) -> str:
        return f"{self._name}: {verb}"

    @property
    def _by_hand(self) -> str:
        return self._ssh.by_hand
