"""tegrastats or nvidia-smi beside a measurement: its lines, stamped with our own monotonic clock; the calendar may be wrong."""

import contextlib
import subprocess
import threading
import time

from . import children
from .system import gpu_index, program

INTERVAL_MS = 500
IDLE_S = 2.0  # from the first line on, before anything is started: what the board draws anyway
_POLL_S = 0.05


def tegrastats(asked):
    """The command lines to try, in order; none where it is not asked for, or not there."""
    path = program("tegrastats") if asked else None
    return [[path, "--interval", str(INTERVAL_MS)]] if path else []


def nvidia_smi(asked):
    """The same. asked: lists of fields, as drivers of several generations call them; None: not asked for."""
    path = program("nvidia-smi") if asked else None
    loop = ["--format=csv,nounits", "-lms", str(INTERVAL_MS)]
    return [[path, "-i", gpu_index(), "--query-gpu=" + ",".join(fields)] + loop for fields in asked or ()] if path else []


@contextlib.contextmanager
def sampled(commands):
    """Yields [[monotonic seconds, line], ...], which grows until the block ends; None where no command can be started.

    Of the first command that does not end at once, as one does that is told a field it does not know. The block begins IDLE_S
    after the first line. The program ends with the block, and with this process however that ends. One that says nothing by then
    is ended: it keeps its lines back, and they would be stamped too late.
    """
    with contextlib.ExitStack() as running:
        lines = None
        for words in commands:
            try:
                child, lines = running.enter_context(_started(words))
            except OSError:
                continue
            if _told_for_a_while(child, lines):
                break
            running.close()
        yield lines


@contextlib.contextmanager
def _started(words):
    """With: the program and its lines so far. Raises OSError: it cannot be started."""
    lines, child = [], children.start(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    try:
        yield child, lines
    finally:
        children.end(child)
        reader.join()
        child.stdout.close()


def _read(stdout, lines):
    for line in iter(stdout.readline, b""):
        if line.endswith(b"\n"):  # else it was cut off: half a number is another number
            lines.append([round(time.monotonic(), 3), line.decode("utf-8", "replace").strip()])


def _told_for_a_while(child, lines):
    """Wait until IDLE_S after its first line; False where it ended or said nothing by then, which holds nobody up."""
    until = time.monotonic() + 2 * IDLE_S
    while time.monotonic() < (min(until, lines[0][0] + IDLE_S) if lines else until):
        if children.ended(child):
            return False
        time.sleep(_POLL_S)
    return bool(lines)
