"""A desktop's GPU through the real agent and a fake trtexec: nvidia-smi runs beside the rounds, and tells what it draws."""

import numpy as np
import nvidia_smi as fake
import pytest
import tiny_models as tiny
import trtexec

from edgekd.targets import profile, suspicions
from edgekd.targets.jetson.identity import describe
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.target import Target
from edgekd.targets.tensorrt import connection as module
from edgekd.targets.tensorrt.connection import TensorrtConnection
from edgekd.targets.tensorrt.installed import Installed
from edgekd.targets.transport.local import LocalTransport

PLAN = MeasuringPlan(rounds=1, queries=20, discard=0, round_s=0.0, budget_s=2.0)


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Time one engine; ``fake.install`` was called before or not."""
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "WARM_UP_S", 1.0)
    model = tiny.float_model(tmp_path / "f.onnx", batch=1, opset=13)
    trtexec.install(tmp_path, "10.3", capability="8.9")
    plan = tmp_path / "f.plan"
    plan.write_bytes(trtexec.engine(model, "10.3", "8.9"))
    transport = LocalTransport()
    connection = TensorrtConnection(Target("rtx", profile("rtx-desktop"), "tensorrt", "fp16", "always", 1), transport)
    connection.installed = Installed((10, 3, 0), "trtexec", describe({}))
    yield lambda: connection.measure({"fp16": plan}, np.zeros((1, 3, 8, 8), np.float32), PLAN)
    transport.close()


def test_power_and_why_the_clock_was_held_back_come_with_the_times(tmp_path, measure):
    fake.install(tmp_path, idle_s=2.3, faster=25.0, busy={"active": "0x0000000000000044"})  # 50 lines a second
    measured = measure()
    told = measured["power"]["fp16"]
    assert told["idle_w"] == pytest.approx(26.2) and told["power_w"] == pytest.approx(86.2) and told["energy_mj"] > 0
    assert told["rails"] == ["GPU board, by nvidia-smi"]
    assert any("the GPU was throttled in" in one for one in suspicions(measured, profile("rtx-desktop")))
    assert measured["conditions"]["gpu"]["mhz"] == [2805.0, 2805.0] and measured["conditions"]["gpu"]["hottest_c"] == 60.0
