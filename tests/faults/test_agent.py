"""A device that does not answer in time ends the run with exit 6, the deadline and no process left behind."""

import io
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.pipeline import chain
from edgekd.targets import client

PARENT = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
HUNG = {
    "sleeps": "time.sleep(600)",
    "is stopped by SIGSTOP": "os.kill(os.getpid(), signal.SIGSTOP)",
    "computes without end": "while True: pass",
    "ignores every signal it can": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 14, 15)]; time.sleep(600)",
}
AGENT = """
import os, pathlib, signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
pathlib.Path({pids!r}).write_text("%d %d" % (os.getpid(), child.pid))
"""


@pytest.fixture
def device_step(toy_chain, monkeypatch):
    """The second toy stage runs on a device, which is asked who it is first."""
    first, second = chain.CHAIN
    stages = (first, replace(second, name="benchmark", per_target=True))
    monkeypatch.setattr(chain, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})


def gone(pid):
    """Whether the process has ended; waits for it a little."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@PARENT
@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", HUNG.values(), ids=HUNG)
def test_an_agent_that_hangs_is_ended_with_its_children_at_the_deadline(walk, device_step, monkeypatch, tmp_path, how):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("__main__.py", AGENT.format(pids=str(tmp_path / "pids")) + how)
    monkeypatch.setattr(client, "build_zipapp", content.getvalue)
    monkeypatch.setattr(client, "_PROBE_S", 0.5)
    monkeypatch.setattr(client, "_GRACE_S", 1.0)
    hung = walk("gates={}")
    assert (hung.error.exit_code, hung.error.where) == (6, "cpu: probe")
    assert hung.error.what == "the agent hung: nothing was heard 1 s past its deadline of 0.5 s"
    assert hung.error.fix
    assert [(row.step.name, row.status) for row in hung.rows] == [("teacher", "done"), ("cpu/benchmark", "failed")]
    assert all(gone(pid) for pid in (tmp_path / "pids").read_text().split())
