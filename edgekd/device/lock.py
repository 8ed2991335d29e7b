"""The measuring lock: one for the machine, so that two benchmarks never time each other. It dies with its holder (flock),
and with whom that handed its handle on to."""

import collections
import contextlib
import fcntl
import json
import os
import time

from .problem import Problem

PATH = "/tmp/edgekd-measuring.lock"  # one path for every user and every run of this machine
POLL_S = 0.05

Held = collections.namedtuple("Held", ["waited_s", "handle"])  # seconds; the file descriptor that holds it


@contextlib.contextmanager
def measuring_lock(wait_s=0.0, path=PATH):
    """Hold the machine's measuring lock, waiting up to ``wait_s`` seconds. Yields Held.

    Raises Problem "locked", naming the holder; "environment" where the file cannot be opened.
    """
    handle = _open(path)
    try:
        start = time.monotonic()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - start >= wait_s:
                    fix = "wait for it to end; only one measurement at a time tells the truth"
                    raise Problem("locked", "another process is measuring on this machine", path, _holder(handle), fix)
                time.sleep(POLL_S)
        waited = time.monotonic() - start
        _sign(handle)
        yield Held(waited, handle)
    finally:
        os.close(handle)


def _open(path):
    """Without O_CREAT when it exists: Linux refuses that on another user's file in /tmp (fs.protected_regular)."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        while True:
            try:
                return os.open(path, os.O_RDWR | flags)
            except FileNotFoundError:
                pass  # nobody measured here yet: make it
            except PermissionError:
                return os.open(path, os.O_RDONLY | flags)  # enough to lock, not to sign
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, 0o666)
                os.fchmod(handle, 0o666)  # whatever the umask: other users measure here too
                return handle
            except FileExistsError:
                continue  # another process made it first
    except OSError as error:
        raise Problem("environment", "cannot open the measuring lock: %s" % error.strerror, path, fix="remove that file")


def _sign(handle):
    holder = {"pid": os.getpid(), "user": os.getuid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
    except OSError:
        return  # opened read-only, or the disk is full: the lock holds without a name


def _holder(handle):
    try:
        holder = json.loads(os.pread(handle, 4096, 0).decode())
        return "process %d of user %d since %s" % (holder["pid"], holder["user"], holder["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that left no name"
