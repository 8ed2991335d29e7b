"""The real agent, measuring: clocks locked and tegrastats beside it, and both undone when it ends or the host is gone."""

import json
import os
import subprocess
import sys
import time

import jetson_root as JETSON
import numpy as np
import pytest

from edgekd.device import build_zipapp
from edgekd.device.integrity import sha256_of


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "edgekd.pyz").write_bytes(build_zipapp())
    return JETSON.orin_nano_super(tmp_path / "root")


def start(root, tiny, tmp_path, rounds):
    """An agent held open that measures a tiny model."""
    tiny.float_model(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 8, 8), np.float32))
    files = {name: {"path": name, "sha256": sha256_of(tmp_path / name)} for name in ("m.onnx", "x.npy")}
    plan = {"rounds": rounds, "queries": 20, "block": 20, "discard": 1, "round_s": 0.2, "budget_s": 600.0}
    request = {"workdir": str(tmp_path), "deadline_s": 120, "threads": 1, "plan": plan, "lock_wait_s": 60,
               "models": {"m": files["m.onnx"]}, "example": files["x.npy"], "clocks": "lock", "tegrastats": True}  # fmt: skip
    command = [sys.executable, str(tmp_path / "edgekd.pyz"), "agent", "measure", "--token", "t", "--hold"]
    agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    agent.stdin.write(json.dumps(request).encode() + b"\n")
    agent.stdin.flush()
    return agent


def calls(root):
    return [line.split(" ")[0] for line in (root / "jetson_clocks.log").read_text().splitlines()]


def test_the_reply_tells_of_clocks_and_tegrastats(root, tiny, tmp_path):
    JETSON.tegrastats(root)
    with start(root, tiny, tmp_path, rounds=3) as agent:
        lines = iter(agent.stdout.readline, b"\nEDGEKD-t-END\n")
        reply = next(json.loads(line) for line in lines if line.startswith(b"{"))
    assert reply["clocks"] == {"asked": "lock", "locked_by_us": True, "restored": True}
    assert calls(root) == ["--store", "", "--restore"] and (root / "state").read_text() == "unlocked\n"
    sampled = [json.loads(line) for line in (tmp_path / reply["tegrastats"]["path"]).read_text().splitlines()]
    ((begun, _),) = reply["spans"]["m"][:1]
    assert sampled[0][0] < begun - 1.9 and sampled[-1][0] > begun
    assert reply["conditions"]["after"]["trips_c"]["tj-thermal"] == 99.0


def test_a_connection_that_is_lost_puts_the_clocks_back_and_ends_tegrastats(root, tiny, tmp_path):
    log = JETSON.tegrastats(root)
    with start(root, tiny, tmp_path, rounds=1000) as agent:
        until = time.monotonic() + 30
        while not log.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert (root / "state").read_text() == "locked\n"
        agent.stdin.close()
        agent.wait(30)
    until = time.monotonic() + 30
    while calls(root)[-1] != "--restore" and time.monotonic() < until:
        time.sleep(0.02)
    assert calls(root) == ["--store", "", "--restore"] and (root / "state").read_text() == "unlocked\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text().split()[0]), 0)
