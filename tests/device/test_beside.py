"""tegrastats runs beside a block, with our own clock on its lines, and never outlives it or the agent."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import jetson_root as JETSON
import pytest

from edgekd.device import beside, build_zipapp


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setattr(beside, "IDLE_S", 0.2)
    return tmp_path


def lives(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_lines_are_stamped_with_our_clock_and_begin_before_the_load(root):
    log = JETSON.tegrastats(root)
    with beside.sampled(beside.tegrastats(True)) as lines:
        loaded = time.monotonic()
        time.sleep(0.2)
    known = JETSON.text("tegrastats", "orin_nano_super_jp62_sudo.txt").splitlines()
    assert [line for _, line in lines][:3] == known[:3]
    stamps = [at for at, _ in lines]
    assert stamps == sorted(stamps) and stamps[0] < loaded - 0.15 and stamps[-1] > loaded
    pid, *words = log.read_text().split()
    assert words == ["--interval", "500"] and not lives(pid)


def test_where_there_is_none_nothing_is_sampled(root):
    with beside.sampled(beside.tegrastats(True)) as lines:
        assert lines is None


def test_where_not_asked_nothing_runs(root):
    log = JETSON.tegrastats(root)
    with beside.sampled(beside.tegrastats(False)) as lines:
        assert lines is None
    assert not log.exists()


def test_an_error_ends_it(root):
    log = JETSON.tegrastats(root)
    with pytest.raises(ZeroDivisionError), beside.sampled(beside.tegrastats(True)):
        raise ZeroDivisionError
    assert not lives(log.read_text().split()[0])


@pytest.mark.parametrize("script", ["exit 0", "sleep 60", "printf half"])
def test_one_that_says_nothing_whole_holds_nobody_up(root, script):
    JETSON.program(root, "/usr/bin/tegrastats", f"#!/bin/sh\n{script}\n")
    started = time.monotonic()
    with beside.sampled(beside.tegrastats(True)) as lines:
        assert time.monotonic() - started < 5
    assert lines == []


AGENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from edgekd_device import beside
with beside.sampled(beside.tegrastats(True)) as lines:
    print(len(lines), flush=True)
    time.sleep(60)
"""


def test_it_dies_with_an_agent_that_is_killed(root):
    log = JETSON.tegrastats(root)
    (root / "edgekd.pyz").write_bytes(build_zipapp())
    with subprocess.Popen([sys.executable, "-c", AGENT, str(root / "edgekd.pyz")], stdout=subprocess.PIPE) as agent:
        assert int(agent.stdout.readline()) > 0
        pid = log.read_text().split()[0]
        assert lives(pid)
        agent.kill()
    until = time.monotonic() + 20
    while lives(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not lives(pid)
