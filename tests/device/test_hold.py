"""An agent held by its stdin ends when that ends: its children with it, and what it changed put back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HELD = """
import sys, time
from edgekd.device import __main__, agent, children
def changing(request):
    child = children.start(["sleep", "600"])
    open("child", "w").write(str(child.pid))
    try:
        open("changed", "w").close()
        {meanwhile}
    finally:
        open("put back", "w").close()
agent._probe = changing
sys.exit(__main__.main(["agent", "probe", "--token", "t", "--hold"]))
"""


@pytest.fixture
def held(tmp_path):
    """An agent that has changed something and goes on as told."""

    def start(meanwhile="time.sleep(600)", deadline_s=60):
        child = subprocess.Popen(
            [sys.executable, "-c", HELD.format(meanwhile=meanwhile)], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        child.stdin.write(json.dumps({"workdir": str(tmp_path), "deadline_s": deadline_s}).encode() + b"\n")
        child.stdin.flush()
        while not (tmp_path / "changed").exists():
            assert child.poll() is None
            time.sleep(0.01)
        return child

    yield start


def gone(pid):
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("meanwhile", ["time.sleep(600)", "while True: pass", "child.wait(); time.sleep(600)"])
def test_when_stdin_ends_what_was_changed_is_put_back_and_nobody_stays(held, tmp_path, meanwhile):
    agent = held(meanwhile)
    agent.stdin.close()
    assert agent.wait(30) != 0
    agent.stdout.close()
    assert (tmp_path / "put back").exists() and gone((tmp_path / "child").read_text())


def test_at_the_deadline_what_was_changed_is_put_back_too(held, tmp_path):
    agent = held(deadline_s=0.5)
    stdout = agent.stdout.read()
    agent.wait(30)
    agent.stdin.close()
    agent.stdout.close()
    assert b"not finished after 0.5 s" in stdout
    assert (tmp_path / "put back").exists() and gone((tmp_path / "child").read_text())


def test_one_that_will_not_leave_is_ended_a_moment_later(held):
    agent = held("signal = __import__('signal'); signal.pthread_sigmask(signal.SIG_BLOCK, [15]); time.sleep(600)")
    agent.stdin.close()
    assert agent.wait(30) in (1, -signal.SIGKILL)
    agent.stdout.close()


def test_while_stdin_stays_open_the_call_ends_by_itself(tmp_path):
    words = [sys.executable, "-m", "edgekd.device", "agent", "probe", "--token", "t", "--hold"]
    read, write = os.pipe()
    with subprocess.Popen(words, stdin=read, stdout=subprocess.PIPE) as agent:
        os.close(read)
        os.write(write, json.dumps({"workdir": str(tmp_path), "deadline_s": 60}).encode() + b"\n")
        assert b'"identity"' in agent.stdout.read()
        assert agent.wait(30) == 0
    os.close(write)
