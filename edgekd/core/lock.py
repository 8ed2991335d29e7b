"""Locks that die with their holder (flock), and that say who holds them."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.core.errors import LockedError
from edgekd.core.files import disk_problems, make_folder


@contextmanager
def locked(path: Path, what: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made if absent, left in place). ``what`` names it in the error.

    Raises LockedError, naming process, host, command and since when, if another process still holds it after ``wait_s``.
    """
    make_folder(path.parent)
    with disk_problems(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    fix = "wait for it to end, or use a --run-dir in another folder, which has a store of its own"
                    what = f"{what} is held by another process"
                    raise LockedError(what, where=str(path), seen=_holder(path), fix=fix) from None
                time.sleep(0.05)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that left no name"
