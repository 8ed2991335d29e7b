"""Locks between real processes: held, named, and gone with their holder."""

import os
import signal
import subprocess
import sys

import pytest

from edgekd.core import LockedError
from edgekd.core.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from edgekd.core.lock import locked
with locked(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds tmp_path/lock for some seconds; killed at the end of the test."""
    started = []

    def start(seconds: float = 60.0) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "lock"), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_lock_held_elsewhere_is_refused_with_the_name_of_its_holder(holder, tmp_path):
    process = holder()
    with pytest.raises(LockedError) as caught, locked(tmp_path / "lock", "the run"):
        pytest.fail("two processes hold one lock")
    assert (caught.value.exit_code, caught.value.what) == (8, "the run is held by another process")
    assert caught.value.seen.startswith(f"process {process.pid} on ")


def test_a_killed_holder_holds_nothing(holder, tmp_path):
    process = holder()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(tmp_path / "lock", "the run"):
        pass


def test_waiting_long_enough_gets_the_lock(holder, tmp_path):
    holder(0.3)
    with locked(tmp_path / "lock", "the run", wait_s=30):
        pass


def test_a_lock_is_free_again_after_an_error_inside(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", "the run"):
        raise ZeroDivisionError
    with locked(tmp_path / "lock", "the run"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_a_lock_file_full_of_nonsense_names_nobody_and_still_locks(holder, tmp_path):
    holder()
    (tmp_path / "lock").write_text("{")
    with pytest.raises(LockedError) as caught, locked(tmp_path / "lock", "the run"):
        pytest.fail("two processes hold one lock")
    assert caught.value.seen == "a process that left no name"
