"""Transports: how files and one agent call reach a device; this machine, or another by OpenSSH."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MOST_REPLY_BYTES = 64 << 20


@dataclass(frozen=True)
class Answer:
    """What one call of the agent left. status: exit status, negative for a signal; None when it was killed at the timeout."""

    status: int | None
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """workdir: the agent's own folder, as the device names it."""

    @property
    def workdir(self) -> str: ...
    def put(self, source: Path, name: str) -> None: ...
    def get(self, name: str) -> Path: ...
    def call(self, arguments: list[str], request: bytes, timeout_s: float) -> Answer: ...
    def close(self) -> None: ...
