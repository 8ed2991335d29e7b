"""Child processes that never outlive the agent: each leads its own group, and the kernel kills it when the agent dies.

Start them from the main thread: the kernel's word for "the parent died" is that the thread which forked is gone.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02
_running = set()


def die_with_parent():
    """Ask the kernel to kill this process when the thread that forked it ends. Nothing happens where there is no prctl."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start(words, **options):
    """A running subprocess.Popen, without stdin unless the options, of Popen, name one. End it with ``end``. Raises OSError: it
    cannot be started."""
    parent = os.getpid()

    def tie():
        die_with_parent()
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(127)

    options.setdefault("stdin", subprocess.DEVNULL)
    child = subprocess.Popen(words, start_new_session=True, preexec_fn=tie, **options)  # noqa: PLW1509
    _running.add(child)
    return child


def end(child):
    """Kill a child that still runs, and what it left in its group; then wait for it. Its exit status, negative for a signal."""
    _kill_group(child)
    status = child.wait()
    _running.discard(child)
    return status


def end_all():
    """Kill every child that still runs. Safe from any thread; for the ways out of the agent that unwind nothing."""
    for child in list(_running):
        _kill_group(child)


def run(words, log, until, folder):
    """Run a program to its end in ``folder``; what it says on stdout and stderr goes to the file ``log``, in order.

    until: monotonic seconds at which it is killed. Returns its exit status, negative for a signal, None when time was up.
    """
    with open(log, "ab") as said:
        child = start(words, stdout=said, stderr=subprocess.STDOUT, cwd=folder)
        try:
            while not ended(child) and time.monotonic() < until:
                time.sleep(_POLL_S)
            in_time = ended(child)
        finally:
            status = end(child)
    return status if in_time else None


def ended(child):
    """Whether a child is done, without collecting it: until that, its number, and so its group's, is nobody else's."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(child):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
