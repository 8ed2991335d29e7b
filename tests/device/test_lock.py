"""One measurement at a time on a machine; the holder is named, and its death frees the lock."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.device import Problem
from edgekd.device.lock import measuring_lock

HOLD = """
import sys, time
from edgekd.device.lock import measuring_lock
with measuring_lock(0, sys.argv[1]):
    print(1, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    path = str(tmp_path / "measuring.lock")
    child = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"1\n"
    yield child, path
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_held_lock_names_its_holder(holder):
    child, path = holder
    with pytest.raises(Problem, match="another process is measuring") as refused, measuring_lock(0.1, path):
        pass
    assert refused.value.code == "locked" and f"process {child.pid} of user {os.getuid()} since" in refused.value.seen


def test_the_holders_death_frees_the_lock(holder):
    child, path = holder
    os.kill(child.pid, signal.SIGKILL)
    with measuring_lock(10, path):
        pass


def test_waiting_gets_the_lock_and_says_how_long(tmp_path):
    path = str(tmp_path / "l")
    with measuring_lock(0, path) as held:
        assert held.waited_s < 1
    with measuring_lock(0, path):
        pass  # released, and its file stays usable


def test_every_user_may_open_the_file_whatever_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        with measuring_lock(0, str(tmp_path / "l")):
            assert (tmp_path / "l").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(old)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "l").symlink_to(tmp_path / "precious")
    with pytest.raises(Problem, match="cannot open the measuring lock") as refused, measuring_lock(0, str(tmp_path / "l")):
        pass
    assert refused.value.code == "environment" and not (tmp_path / "precious").exists()


def test_a_holder_without_a_name_is_still_a_holder(holder):
    _, path = holder
    Path(path).write_text("{garbage")
    with pytest.raises(Problem) as refused, measuring_lock(0, path):
        pass
    assert refused.value.seen == "a process that left no name"
