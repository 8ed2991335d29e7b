"""tegrastats beside a measurement: its lines, stamped with our own monotonic clock; the device's calendar may be wrong."""

import contextlib
import subprocess
import threading
import time

from . import children
from .system import program

INTERVAL_MS = 500
IDLE_S = 2.0  # from the first line on, before anything is started: what the board draws anyway
_POLL_S = 0.05


@contextlib.contextmanager
def sampled(asked):
    """Yields [[monotonic seconds, line], ...], which grows until the block ends; None where not asked, or no tegrastats is.

    The block begins IDLE_S after the first line. The program ends with the block, and with this process however that ends.
    """
    path, child = program("tegrastats") if asked else None, None
    if path:
        with contextlib.suppress(OSError):
            child = children.start([path, "--interval", str(INTERVAL_MS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if child is None:
        yield None
        return
    lines = []
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    try:
        _wait_for_idle(lines)
        yield lines
    finally:
        children.end(child)
        reader.join()
        child.stdout.close()


def _read(stdout, lines):
    for line in iter(stdout.readline, b""):
        if line.endswith(b"\n"):  # else it was cut off: half a number is another number
            lines.append([round(time.monotonic(), 3), line.decode("utf-8", "replace").strip()])


def _wait_for_idle(lines):
    until = time.monotonic() + 2 * IDLE_S  # a tegrastats that says nothing holds nobody up
    while time.monotonic() < (min(until, lines[0][0] + IDLE_S) if lines else until):
        time.sleep(_POLL_S)
