"""Scripts for a device's shell, run over ssh: what they print and how they end, or what became of the connection.

The exit status comes back in the output: ssh's own 255 cannot tell a lost connection from a killed agent.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from edgekd.core import DeviceError
from edgekd.core.files import disk_problems
from edgekd.targets.host import Host
from edgekd.targets.transport import remote
from edgekd.targets.transport.openssh import OpenSsh
from edgekd.targets.transport.trouble import trouble

HELPER_S = 60.0
_MOST_BYTES = 1 << 20
_SSH_FAILED = 255  # the exit status of ssh's own failures; others are of the shell there
_FULL = re.compile(r"No space left|File too large|[Qq]uota exceeded")
_Result = TypeVar("_Result")


class LostError(Exception):
    """The connection ended before the script there did. error: for a person."""

    def __init__(self, error: DeviceError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Ran:
    """status: of the script on the device. body: what it printed between the markers."""

    status: int
    body: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        return " ".join((self.stderr or self.body)[-300:].decode("utf-8", "replace").split()) or f"status {self.status}"

    def refusal(self, where: str, what: str) -> DeviceError:
        """The error of a script that the device's disk did not let through."""
        if _FULL.search(self.said):
            fix = "free some space on the device; ~/.cache/edgekd there may be removed"
            return DeviceError("the device's disk is full", where=where, seen=self.said, fix=fix)
        return DeviceError(what, where=where, seen=self.said, fix="may this user write to ~/.cache there?")


class Scripts:
    """name: the target's, for messages. lost: whether the connection was, and nothing has come through since."""

    def __init__(self, name: str, host: Host, ssh_config: Path | None) -> None:
        self._name, self._ssh = name, OpenSsh(host, ssh_config)
        self.lost = False

    @property
    def by_hand(self) -> str:
        """The command line by which a person reaches the same host."""
        return self._ssh.by_hand

    def where(self, verb: str) -> str:
        return f"{self._name}: {verb}"

    def run(
        self,
        script: str,
        where: str,
        stdin: IO[bytes] | bytes | None = None,
        timeout_s: float = HELPER_S,
        most: int = _MOST_BYTES,
    ) -> Ran:
        """Raises LostError: ssh ended before the script did. TimeoutError. DeviceError: more came than ``most`` bytes."""
        token = secrets.token_hex(8)
        begin, end = f"\nEDGEKD-{token}-BEGIN\n".encode(), f"\nEDGEKD-{token}-END ".encode()
        with disk_problems(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as stdout:
            done = self._ssh.run(remote.bracketed(script, token), stdin, stdout, timeout_s, most + _MOST_BYTES)
            stdout.seek(0)
            content = stdout.read()
            if end not in content and os.fstatvfs(stdout.fileno()).f_bavail == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # ssh could not write here what came
        _, begun, rest = content.partition(begin)
        body, ended, after = rest.rpartition(end)
        status, whole, _ = after.partition(b"\n")
        if begun and ended and whole and status.isdigit():
            return Ran(int(status), body, done.stderr)
        if done.too_much:
            raise DeviceError("the device sends more than was asked for", where=where, seen=f"over {most:,} bytes")
        if done.status is None:
            raise TimeoutError(f"{self.by_hand}: nothing after {timeout_s:.0f} s")
        self.lost = True
        if not begun and 0 <= done.status != _SSH_FAILED:
            raise self._left(done.status, done.stderr or content, where)
        raise LostError(trouble(done.stderr, self.by_hand, where))

    def in_time(self, script: str, verb: str) -> Ran:
        """A short one, whose delay is the device's fault. Raises LostError and DeviceError."""
        try:
            return self.run(script, self.where(verb))
        except TimeoutError as error:
            raise DeviceError("the device does not answer", where=self.where(verb), seen=str(error)) from None

    def again(self, action: Callable[[], _Result]) -> _Result:
        """What may be done twice is, over a connection of its own, where the first one was lost."""
        try:
            return action()
        except LostError:
            self._ssh.reconnect()
        try:
            done = action()
        except LostError as lost:
            raise lost.error from None
        self.lost = False
        return done

    def close(self) -> None:
        self._ssh.close()

    def _left(self, status: int, content: bytes, where: str) -> DeviceError:
        said = " ".join(content[-300:].decode("utf-8", "replace").split()) or "nothing"
        fix = (
            f"{self.by_hand} true must end with 0: look for an exit in ~/.bashrc there, an account without a shell, or"
            " ForkAfterAuthentication and SessionType in your ssh config"
        )
        what = f"the login shell on the device ended with {status} before it ran our command"
        return DeviceError(what, where=where, seen=said, fix=fix)
