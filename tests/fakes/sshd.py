"""A real sshd on loopback, as the user who runs the tests: keys, known_hosts and configuration of its own in one folder.

Needs OpenSSH's server (Debian, Ubuntu: openssh-server) and client. NAME is what its ssh_config calls it.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if Path(path).exists()), None)

NAME = "edge-board-7"


def require() -> None:
    """Skip where there is no OpenSSH; in CI fail."""
    if SSHD is None or shutil.which("ssh") is None:
        what = "OpenSSH is not installed: sudo apt install openssh-server openssh-client"
        pytest.fail(what, pytrace=False) if os.environ.get("CI") else pytest.skip(what)


class Sshd:
    """folder: must be private to this user. environment: of every session, HOME among it. command: a ForceCommand."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None, command: str | None = None) -> None:
        self.folder, self.home = folder, folder / "home of a device"
        self.home.mkdir(parents=True)
        folder.chmod(0o700)
        self.port = _free_port()
        self.environment, self.command = {"HOME": str(self.home), **(environment or {})}, command
        for name in ("host_key", "user_key", "other_key"):
            self.make_key(name)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        self.know(folder / "host_key.pub")
        self._process: subprocess.Popen | None = None

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    def make_key(self, name: str) -> None:
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)

    def know(self, *keys: Path) -> None:
        """Write known_hosts, and the client's configuration."""
        known = [f"[127.0.0.1]:{self.port} {key.read_text()}" for key in keys]
        (self.folder / "known_hosts").write_text("".join(known))
        self.config.write_text(
            f"Host {NAME}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f'  IdentityFile "{self.folder}/user_key"\n  IdentitiesOnly yes\n  IdentityAgent none\n'
            f'  UserKnownHostsFile "{self.folder}/known_hosts"\n  GlobalKnownHostsFile none\n'
        )

    def start(self) -> None:
        settings = self.folder / "sshd_config"
        values = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        settings.write_text(
            f'Port {self.port}\nListenAddress 127.0.0.1\nHostKey "{self.folder}/host_key"\nPidFile none\n'
            f'AuthorizedKeysFile "{self.folder}/authorized_keys"\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n'
            f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPermitUserRC no\nSetEnv {values}\n"
            + (f"ForceCommand {self.command}\n" if self.command else "")
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # a compiled-in place it insists on, gone after a restart
        log = (self.folder / "sshd.log").open("ab")
        self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", settings], stdin=subprocess.DEVNULL, stderr=log)
        log.close()
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError("sshd did not start: " + (self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        """With the sessions that are open."""
        if self._process is None:
            return
        for pid in self.sessions():
            _kill(pid)
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self, **changed: object) -> None:
        self.stop()
        for name, value in changed.items():
            setattr(self, name, value)
        self.start()

    def sessions(self) -> list[int]:
        """The processes of sshd that serve one connection each, below the one that listens."""
        return descendants(self._process.pid, "sshd") if self._process else []

    def agents(self) -> list[int]:
        """Agents and their children: the processes that work below this device's home."""
        return [pid for pid in _pids() if _link(pid, "cwd").startswith(f"{self.home}/.cache")]

    def cut(self) -> None:
        """End every connection at once, as a pulled cable or a reboot does for who holds the other end."""
        for pid in self.sessions():
            _kill(pid)


def descendants(parent: int, name: str) -> list[int]:
    found, below = [], [parent]
    while below:
        above = below.pop()
        children = [pid for pid in _pids() if _stat(pid)[1:2] == [str(above)]]
        found += [pid for pid in children if name in (_words(pid) or [""])[0]]
        below += children
    return found


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """[state, parent, ...]"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _link(pid: int, name: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/{name}").readlink())
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]
