"""What the agent starts ends with it, is ended at its time, and what it says is kept in order."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd.device import children


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid):
    deadline = time.monotonic() + 10
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not lives(pid)


def run(code, tmp_path, seconds=30.0):
    return children.run([sys.executable, "-c", code], str(tmp_path / "log"), time.monotonic() + seconds, str(tmp_path))


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_a_childs_status_tells_how_it_ended(tmp_path, code, status):
    assert run(code, tmp_path) == status


def test_both_of_a_childs_streams_are_kept_in_order(tmp_path):
    run("import os\nfor n in range(4): os.write(1 + n % 2, b'%d' % n)", tmp_path)
    assert (tmp_path / "log").read_bytes() == b"0123"


def test_a_child_is_killed_with_what_it_started_when_its_time_is_up(tmp_path):
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    began = time.monotonic()
    assert run(code, tmp_path, 0.7) is None and time.monotonic() - began < 10
    assert gone(int((tmp_path / "log").read_text()))


def test_what_a_child_left_behind_goes_with_it(tmp_path):
    assert run("import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)", tmp_path) == 0
    assert gone(int((tmp_path / "log").read_text()))


PARENT = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from edgekd.device import children
print(children.start(["sleep", "60"]).pid, flush=True)
{end}
"""
ENDS = {"killed": "time.sleep(60)", "leaves": "children.end_all(); os._exit(0)", "its alarm": "signal.alarm(1); time.sleep(60)"}


@pytest.mark.parametrize("end", ENDS)
def test_a_child_dies_with_its_parent_however_that_ends(end):
    code = PARENT.format(root=str(Path(children.__file__).parents[2]), end=ENDS[end])
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with contextlib.closing(parent.stdout):
        child = int(parent.stdout.readline())
        assert lives(child) or end == "leaves"
        if end == "killed":
            os.kill(parent.pid, signal.SIGKILL)
        parent.wait(30)
    assert gone(child)
