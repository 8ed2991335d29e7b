"""Clocks are locked only when asked, and are as they were, once, in every way out, also when the agent is killed with -9."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jetson_root as JETSON
import pytest

from edgekd.device import Problem, build_zipapp, clocks, guardian
from edgekd.device.lock import measuring_lock


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def calls(root):
    return [line.split(" ")[0] for line in (root / "jetson_clocks.log").read_text().splitlines()]


ALL = ["--store", "", "--restore"]


def test_clocks_stay_as_they_are_unless_asked(root):
    JETSON.clocks(root)
    for asked in ("as-is", None):
        with clocks.locked(asked) as told:
            pass
        assert told == {"asked": "as-is", "locked_by_us": False, "restored": None}
    assert not (root / "jetson_clocks.log").exists()


def test_clocks_are_locked_and_put_back_as_they_were(root):
    state = JETSON.clocks(root, state="an odd setting of the owner")
    with clocks.locked("lock") as told:
        assert state.read_text() == "locked\n" and told["locked_by_us"] and told["restored"] is None
    assert state.read_text() == "an odd setting of the owner\n" and told["restored"] is True
    assert calls(root) == ALL and not list((root / "tmp").iterdir())


def test_an_error_in_the_measurement_puts_them_back_and_is_told(root):
    state = JETSON.clocks(root)
    with pytest.raises(ZeroDivisionError), clocks.locked("lock"):
        raise ZeroDivisionError
    assert state.read_text() == "unlocked\n" and calls(root) == ALL


AGENT = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from edgekd_device import agent, clocks
from edgekd_device.lock import measuring_lock
deadline = float(sys.argv[2])
if deadline:
    agent._watch("measure", deadline, lambda error: None)
with measuring_lock(0, sys.argv[3]) as held, clocks.locked("lock", held.handle):
    print("measuring", flush=True)
    time.sleep(60)
"""


def start(root, deadline=0.0, lock=None, **options):
    (root / "edgekd.pyz").write_bytes(build_zipapp())
    command = [sys.executable, "-c", AGENT, str(root / "edgekd.pyz"), str(deadline), lock or str(root / "own-lock")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, **options)


def wait_for(root, words):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if calls(root) == words:
                return
        time.sleep(0.02)
    pytest.fail(f"{calls(root)} is not {words}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_agent_ended_by_a_signal_to_its_whole_group_leaves_the_clocks_as_they_were(root, number):
    state = JETSON.clocks(root)
    with start(root) as agent:
        assert agent.stdout.readline() == b"measuring\n"
        os.killpg(agent.pid, number)
    wait_for(root, ALL)
    wait_until_empty(root / "tmp")
    assert state.read_text() == "unlocked\n"


def wait_until_empty(folder):
    until = time.monotonic() + 30
    while list(folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not list(folder.iterdir())


@pytest.fixture(autouse=True)
def own_tmp(root, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(root / "tmp"))


def test_the_deadline_leaves_the_clocks_as_they_were(root):
    state = JETSON.clocks(root)
    with start(root, deadline=1.0) as agent:
        agent.wait(30)
    wait_for(root, ALL)
    wait_until_empty(root / "tmp")
    assert state.read_text() == "unlocked\n"


def test_an_agent_killed_while_it_locks_cannot_leave_a_lock_behind(root):
    state = JETSON.clocks(root, slow=0.7)
    with start(root) as agent:
        wait_for(root, ["--store", ""])
        agent.kill()
    wait_for(root, ALL)
    wait_until_empty(root / "tmp")
    assert state.read_text() == "unlocked\n"


def guardian_of(agent):
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    (keeper,) = [int(one) for one in children if b".guardian" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return keeper


def test_where_agent_and_guardian_are_both_killed_the_next_measurement_puts_the_clocks_back_first(root):
    state = JETSON.clocks(root, state="the owner's")
    with start(root) as agent:
        assert agent.stdout.readline() == b"measuring\n"
        os.kill(guardian_of(agent), signal.SIGKILL)
        agent.kill()
    assert state.read_text() == "locked\n"
    with clocks.locked("lock"):
        assert state.read_text() == "locked\n"
    assert state.read_text() == "the owner's\n" and not list((root / "tmp").iterdir())
    assert calls(root) == ["--store", "", "--restore", *ALL]


def test_clocks_that_a_killed_agent_was_still_storing_are_never_put_back(root):
    state = JETSON.clocks(root)
    script = (root / "usr/bin/jetson_clocks").read_text().replace("; cat ", "; echo half >$2; sleep 9; cat ", 1)
    JETSON.write(root, "/usr/bin/jetson_clocks", script, 0o755)
    with start(root) as agent:
        until = time.monotonic() + 30
        while not list((root / "tmp").glob("edgekd-clocks-*/*")) and time.monotonic() < until:
            time.sleep(0.02)
        agent.kill()
    JETSON.clocks(root)
    with clocks.locked("lock"):
        pass
    assert state.read_text() == "unlocked\n" and not list((root / "tmp").iterdir()) and calls(root) == ["--store", *ALL]


def test_the_measuring_lock_is_held_until_the_clocks_are_back_though_the_agent_is_killed(root):
    """Else the next measurement stores the locked clocks as the device's own, and they stay locked."""
    state, path = JETSON.clocks(root), str(root / "lock")
    script = (root / "usr/bin/jetson_clocks").read_text().replace("; cat $2 >", "; sleep 0.7; cat $2 >")
    JETSON.write(root, "/usr/bin/jetson_clocks", script, 0o755)
    with start(root, lock=path) as agent:
        assert agent.stdout.readline() == b"measuring\n"
        agent.kill()
    with measuring_lock(30, path) as held:
        assert state.read_text() == "unlocked\n" and held.waited_s > 0.1
        with clocks.locked("lock", held.handle):
            pass
    assert state.read_text() == "unlocked\n" and calls(root) == ALL * 2
    with measuring_lock(0, path):
        pass


def test_a_guardian_killed_while_it_locks_leaves_nobody_behind_who_locks_later(root):
    state = JETSON.clocks(root, slow=0.7)
    with start(root) as agent:
        wait_for(root, ["--store", ""])
        os.kill(guardian_of(agent), signal.SIGKILL)
        assert agent.wait(30) == 1
    time.sleep(0.8)  # as long as jetson_clocks would have taken
    assert calls(root) == ALL and state.read_text() == "unlocked\n"


def test_an_agent_asked_to_end_while_it_starts_the_guardian_leaves_it_what_it_needs_to_restore(root, monkeypatch):
    state, started = JETSON.clocks(root), []
    real = guardian.start

    def ended(*words):
        started.append(real(*words))
        raise SystemExit(1)  # what the handler of SIGTERM raises, anywhere

    monkeypatch.setattr(guardian, "start", ended)
    with pytest.raises(SystemExit), clocks.locked("lock"):
        pytest.fail("measured")
    started[0].communicate(timeout=30)
    assert state.read_text() == "unlocked\n" and calls(root) == ALL and not list((root / "tmp").iterdir())


def test_the_guardian_itself_may_be_killed(root, monkeypatch):
    state, started = JETSON.clocks(root), []
    real = guardian.start
    monkeypatch.setattr(guardian, "start", lambda *all: started.append(real(*all)) or started[0])
    with clocks.locked("lock") as told:
        started[0].kill()
    assert told["restored"] is True and state.read_text() == "unlocked\n" and calls(root) == ALL


def test_clocks_that_cannot_be_put_back_are_an_error_with_the_command_that_does(root):
    JETSON.clocks(root)
    with pytest.raises(Problem, match="could not be put back") as refused, clocks.locked("lock") as told:
        JETSON.program(root, "/usr/bin/jetson_clocks", "#!/bin/sh\necho 'Error: no such sysfs file'\n")
    assert told["restored"] is False and "no such sysfs file" in refused.value.seen and "--restore" in refused.value.fix
    (folder,) = (root / "tmp").iterdir()  # what the command needs is still there
    assert (folder / "before").read_text() == "unlocked\n" and str(folder) in refused.value.fix


def test_a_lock_that_fails_is_an_error_and_is_put_back(root):
    JETSON.clocks(root)
    script = (root / "usr/bin/jetson_clocks").read_text().replace('"") sleep', '"") echo "Error: Unknown GPU Type!" ; sleep')
    JETSON.write(root, "/usr/bin/jetson_clocks", script, 0o755)
    with pytest.raises(Problem, match="could not be locked") as refused, clocks.locked("lock"):
        pytest.fail("measured with clocks that are not locked")
    assert "Unknown GPU Type" in refused.value.seen and calls(root) == ALL


def test_without_jetson_clocks_nothing_is_measured_as_if_locked(root):
    with pytest.raises(Problem, match="no jetson_clocks"), clocks.locked("lock"):
        pytest.fail("measured")


@pytest.mark.parametrize(
    ("sudo", "said"),
    [("echo 'sudo: a password is required' >&2; exit 1", "password is required"), (None, "as a root user")],
)
def test_without_root_the_command_to_run_instead_is_told(root, monkeypatch, sudo, said):
    refusal = JETSON.FIXTURES / "jetson/jetson_clocks/not_root.txt"
    JETSON.program(root, "/usr/bin/jetson_clocks", "#!/bin/sh\ncat {text}\nexit 1\n", text=refusal)
    if sudo:
        JETSON.program(root, "/usr/bin/sudo", f"#!/bin/sh\n{sudo}\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Problem, match="needs root") as refused, clocks.locked("lock"):
        pytest.fail("measured")
    assert said in refused.value.seen and "sudo jetson_clocks" in refused.value.fix and not list((root / "tmp").iterdir())


def test_sudo_without_a_password_is_enough(root, monkeypatch):
    state = JETSON.clocks(root)
    JETSON.program(root, "/usr/bin/sudo", '#!/bin/sh\nprintf "%s\\n" "$1" >>{log}\nshift\nexec "$@"\n', log=root / "sudo.log")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with clocks.locked("lock"):
        assert state.read_text() == "locked\n"
    assert state.read_text() == "unlocked\n" and (root / "sudo.log").read_text() == "-n\n" * 3


def test_a_folder_with_blanks_is_not_given_to_jetson_clocks(root, monkeypatch):
    (root / "a b").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(root / "a b"))
    state = JETSON.clocks(root)
    with clocks.locked("lock"):
        pass
    assert state.read_text() == "unlocked\n" and not list((root / "a b").iterdir())
