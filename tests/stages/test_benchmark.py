"""The benchmark on a device that says what it is told to: which file is measured, what is compared, and what is suspect."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgekd import data, targets
from edgekd.core import Artifact, Outcome
from edgekd.recipe import loads
from edgekd.stages import Context, Input, benchmark

RECIPE = """\
edgekd: 1
name: device
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: PRECISION}
gates:
  benchmark: {cpu: {latency_ms: {p99: {max: 5}}, speedup: {min: 1, confidence: 0.999}}}
"""
SLOW, FAST = [[4.0] * 90 + [8.0] * 10] * 6, [[1.0] * 50 + [2.0] * 49 + [9.0]] * 6
LATENCIES = ("latency_ms.p50", "latency_ms.p90", "latency_ms.p99", "latency_ms_fp32.p50", "latency_ms_fp32.p90",
             "latency_ms_fp32.p99", "speedup", "throughput")  # fmt: skip


class Device:
    """Answers by file: fp32 is right on every image, an int8 file wrong on the first, and as written 0.25 apart."""

    def __init__(self, labels, isa):
        self.right, self.isa, self.plans, self.timed = np.eye(10, dtype=np.float32)[labels], isa, [], None

    def probe(self):
        return {"identity": {"arch": "x86_64", "isa": self.isa}, "conditions": {}}

    def infer(self, model, inputs, *, optimised=True):
        logits = self.right.copy()
        if "fp32" not in model.name:
            logits[0] = -logits[0]
        assert inputs.shape[1:] == (3, 8, 8)
        return logits if optimised else logits + np.float32(0.25)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Run the stage; returns its outcome, its measurements by name, and the device."""

    def run(precision="int8", isa=("avx2", "avx_vnni"), suspect=()):
        recipe = loads(RECIPE.replace("PRECISION", precision), "device.yaml", tmp_path)
        labels = data.open_dataset(recipe.data, root=None).test.labels
        device = Device(labels, isa)

        @contextmanager
        def connect(target, reach):
            yield device

        def measure_calmly(connection, models, example, plan):
            device.plans.append(plan)
            device.timed = {name: path.name for name, path in models.items()}
            rounds = {name: SLOW if name == "fp32" else FAST for name in models}
            return {"rounds": rounds, "conditions": {}, "set_aside": []}, tuple(suspect)

        monkeypatch.setattr(targets, "connect", connect)
        monkeypatch.setattr(targets, "measure_calmly", measure_calmly)
        files = tuple(Artifact(kind, f"student.{kind}.onnx", "0" * 64, 1) for kind in ("fp32", "ort", "ort-w7"))
        folder = tmp_path / "step"
        folder.mkdir()
        outcome = benchmark.run(Context(recipe, folder, {"export": Input(Outcome(files), Path("export"))}, "cpu"))
        return outcome, {one.name: one for one in outcome.measurements}, device

    return run


def test_accuracy_is_of_the_test_images_and_the_drop_against_fp32_in_the_same_runtime(measured):
    _, by_name, device = measured()
    n = len(device.right)
    assert (by_name["top1"].n, by_name["top1"].counts, by_name["top1_fp32"].counts) == (n, (n - 1,), (n,))
    assert by_name["top1_drop"].counts == (1, 0)
    assert {by_name[name].conditions["images"] for name in ("top1", "top1_fp32", "top1_drop")} == {"test"}


def test_parity_is_of_the_session_the_app_runs_against_every_node_as_written(measured):
    _, by_name, device = measured()
    assert (by_name["parity.max_abs"].value, by_name["parity.top1_agreement"].value) == (0.25, 1.0)
    assert by_name["parity.max_abs"].n == len(device.right)


def test_speedup_is_fp32_over_int8_of_the_same_rounds_and_throughput_counts_every_query(measured):
    _, by_name, _ = measured()
    assert (by_name["speedup"].value, by_name["speedup"].n, by_name["speedup"].rounds) == (4.0, 600, (4.0,) * 6)
    assert by_name["throughput"].value == pytest.approx(1000 * 100 / (50 + 98 + 9))
    assert (by_name["latency_ms.p50"].value, by_name["latency_ms.p90"].value, by_name["latency_ms_fp32.p90"].value) == (1, 2, 4)


def test_suspect_conditions_stand_on_every_time_and_on_no_accuracy(measured):
    _, by_name, _ = measured(suspect=("other work ran",))
    assert {name for name, one in by_name.items() if one.suspect == ("other work ran",)} == set(LATENCIES)
    assert not any(one.suspect for name, one in by_name.items() if name not in LATENCIES)


@pytest.mark.parametrize(("isa", "file"), [(("avx2", "avx_vnni"), "student.ort.onnx"), (("avx2",), "student.ort-w7.onnx")])
def test_the_file_measured_is_the_one_that_suits_the_cpu(measured, isa, file):
    outcome, by_name, device = measured(isa=isa)
    assert device.timed == {"int8": file, "fp32": "student.fp32.onnx"}
    assert (outcome.notes["model"], by_name["latency_ms.p50"].conditions["model"]) == (file, file)
    assert by_name["latency_ms_fp32.p50"].conditions["model"] == "student.fp32.onnx"


def test_an_fp32_target_is_not_compared_with_itself(measured):
    _, by_name, device = measured(precision="fp32")
    assert device.timed == {"fp32": "student.fp32.onnx"}
    assert not {"top1_drop", "speedup", "latency_ms_fp32.p50"} & by_name.keys()
    assert by_name["latency_ms.p50"].value == 4.0


def test_the_plan_is_what_the_gates_of_this_target_need(measured):
    _, _, device = measured()
    (plan,) = device.plans
    assert (plan.rounds, plan.rounds * plan.queries >= 662) == (10, True)  # 0.5 ** 10 < 0.001; p99


def test_every_query_and_the_logits_are_kept(measured, tmp_path):
    outcome, _, device = measured()
    assert {one.kind for one in outcome.artifacts} == {"logits_int8", "logits_fp32", "latencies", "conditions"}
    assert json.loads((tmp_path / "step/latencies.json").read_text()) == {"models": {"int8": FAST, "fp32": SLOW}}
    assert (np.load(tmp_path / "step/logits-fp32.npy") == device.right).all()
