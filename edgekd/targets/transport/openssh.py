"""The user's own ssh, run as a child process: their configuration, agent and known_hosts decide; nothing here weakens them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgekd.core import EnvironmentProblem
from edgekd.core.files import disk_problems
from edgekd.targets.host import Host

CONNECT_S = 15
_ALIVE_S, _ALIVE_COUNT = 10, 3  # a connection that is dead without saying so is known to be after half a minute
_PERSIST_S = 60  # how long the shared connection outlives a process that was killed and could not close it
_LONGEST_SOCKET = 80  # bytes; ssh adds 17 to the name, and a socket's has at most 104
_MOST_STDERR = 1 << 16  # bytes that are looked at, of the end
_MOST_NOISE = 64 << 20  # bytes on stderr; a device that says more fills this machine's disk
_PLAIN = re.compile(rb"[A-Za-z0-9_./+-]+")  # in a ControlPath ssh reads spaces, quotes, % and $ its own way


@dataclass(frozen=True)
class Finished:
    """What one ssh process left. status: None when it was killed, for its time or for what it wrote. too_much: the latter."""

    status: int | None
    stderr: bytes
    too_much: bool = False


class OpenSsh:
    """Runs commands on one host over one shared connection, which the first of them opens.

    Never asks anything (BatchMode), so an unknown host key or a missing agent is a failure and not a question.
    """

    def __init__(self, host: Host, config: Path | None) -> None:
        self.host, self.config = host, config
        usual = os.fsencode(tempfile.gettempdir())
        place = None if len(usual) < _LONGEST_SOCKET - 20 and _PLAIN.fullmatch(usual) else "/tmp"
        with disk_problems(Path(tempfile.gettempdir())):
            self._folder = Path(tempfile.mkdtemp(prefix="edgekd-", dir=place))
        self._connections = 0

    @property
    def by_hand(self) -> str:
        """The command line by which a person reaches the same host."""
        config = ["-F", str(self.config)] if self.config else []
        port = ["-p", str(self.host.port)] if self.host.port is not None else []
        return shlex.join(["ssh", *config, *port, self.host.address])

    def run(
        self, command: str, stdin: IO[bytes] | bytes | None, stdout: IO[bytes], timeout_s: float, most_bytes: int
    ) -> Finished:
        """Run a command line of the host's shell until it ends, its time is up or it wrote more than ``most_bytes``.

        stdin: a file, read from where it stands; or bytes, after which stdin stays open as long as the command runs.
        Raises EnvironmentProblem: there is no ssh here.
        """
        with disk_problems(self._folder), tempfile.TemporaryFile() as stderr:
            source = subprocess.PIPE if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL
            with self._child([*self._words(), command], source, stdout, stderr) as child:
                if isinstance(stdin, bytes):
                    threading.Thread(target=_feed, args=(child, stdin), daemon=True).start()
                until, too_much = time.monotonic() + timeout_s, False
                while child.poll() is None and time.monotonic() < until and not too_much:
                    _wait(child)
                    sizes = [os.fstat(one.fileno()).st_size for one in (stdout, stderr)]
                    too_much = sizes[0] > most_bytes or sizes[1] > _MOST_NOISE
                status = None if too_much else child.poll()
            stderr.seek(max(0, os.fstat(stderr.fileno()).st_size - _MOST_STDERR))
            return Finished(status, stderr.read(_MOST_STDERR), too_much)

    def reconnect(self) -> None:
        """Let the next command open a connection of its own; the one there was is left to die."""
        self._connections += 1

    def close(self) -> None:
        """Close the shared connections. Nothing that may be raised by a host that is gone already."""
        for socket in self._folder.glob("c*"):
            words = ["ssh", *self._config(), "-o", f"ControlPath={socket}", "-O", "exit", *self.host.arguments]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=CONNECT_S, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _config(self) -> list[str]:
        return ["-F", str(self.config)] if self.config else []

    def _words(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": str(_ALIVE_S),
            "ServerAliveCountMax": str(_ALIVE_COUNT),
            "LogLevel": "ERROR",
            "ControlMaster": "auto",
            "ControlPersist": str(_PERSIST_S),
            "ControlPath": str(self._folder / f"c{self._connections}"),
            "RemoteCommand": "none",  # of the user's configuration: it cannot stand beside a command
            "ClearAllForwardings": "yes",  # so are these for their own sessions; ports in use already would only fail
        }
        return ["ssh", "-T", *self._config(), *(f"-o{key}={value}" for key, value in options.items()), *self.host.arguments]

    @contextlib.contextmanager
    def _child(
        self, words: list[str], stdin: IO[bytes] | int, stdout: IO[bytes], stderr: IO[bytes]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process in a session of its own, so that Ctrl-C is ours to answer; killed if it still runs in the end."""
        environment = {**os.environ, "LC_ALL": "C"}  # the system's part of an error message is read by us
        try:
            child = subprocess.Popen(
                words, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True, bufsize=0
            )
        except OSError as error:
            fix = "install OpenSSH's client (Debian, Ubuntu: sudo apt install openssh-client)"
            raise EnvironmentProblem("ssh cannot be started here", where="ssh", seen=error.strerror, fix=fix) from error
        try:
            yield child
        finally:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                child.wait()
            if child.stdin is not None:
                with contextlib.suppress(OSError):
                    child.stdin.close()


def _feed(child: subprocess.Popen[bytes], content: bytes) -> None:
    """In a thread of its own: a pipe takes only as much as the other end reads."""
    with contextlib.suppress(OSError, ValueError):  # the other end is gone, or we closed it: the caller sees how the child ended
        view = memoryview(content)
        while child.stdin is not None and len(view):
            view = view[child.stdin.write(view) or 0 :]


def _wait(child: subprocess.Popen[bytes], most_s: float = 0.25) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(most_s)
