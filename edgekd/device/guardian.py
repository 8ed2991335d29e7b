"""The guardian: locks the clocks, and puts them back when its stdin closes, however the process that holds it open ended.

A process in a session of its own: what kills the agent (a deadline, a signal to its group, kill -9) does not reach it. Locking
and restoring are one process's work, one after the other, so that neither can overtake the other, and each happens once.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

from . import children
from .problem import one_line

LOCKED, RESTORED = "locked", "restored"
_PROGRAM_S = 60.0
_RUN = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2] + '.guardian').main(sys.argv[3])"
)


def start(lock, restore, folder, keep=()):
    """A running guardian (subprocess.Popen). lock, restore: words of programs. folder: of the stored clocks, removed at the end.
    keep: file descriptors that stay open as long as it runs.

    It writes a line on stdout after each: LOCKED, then RESTORED, or what the program said instead. Close its stdin to restore.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    package = __package__
    for _ in package.split("."):
        here = os.path.dirname(here)
    work = json.dumps({"lock": lock, "restore": restore, "folder": folder})
    return subprocess.Popen(
        [sys.executable, "-E", "-c", _RUN, here, package, work], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True, cwd="/", pass_fds=keep,
    )  # fmt: skip


def main(work):
    work = json.loads(work)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # for its children too: a restore is never interrupted
    _tell(trouble(work["lock"]) or LOCKED)
    while os.read(0, 4096):
        pass
    said = trouble(work["restore"])
    if not said:
        shutil.rmtree(work["folder"], ignore_errors=True)
    _tell(said or RESTORED)


def trouble(words):
    """None, or what a program said that did not do its work: jetson_clocks ends with 0 after most errors. It dies with us: what
    restores in our place must not be overtaken. (Behind sudo the kernel does not kill it.)"""
    try:
        child = children.start(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return one_line(error)
    try:
        said, status = child.communicate(timeout=_PROGRAM_S)[0], child.returncode
    except subprocess.TimeoutExpired:
        said, status = b"it does not end", None
    finally:
        children.end(child)
        child.stdout.close()
    text = said.decode("utf-8", "replace")
    return None if status == 0 and "Error" not in text else one_line("status %s: %s" % (status, text))


def _tell(line):
    try:
        os.write(1, line.encode("utf-8", "replace") + b"\n")
    except OSError:
        pass  # the agent is gone, which is why this process exists
