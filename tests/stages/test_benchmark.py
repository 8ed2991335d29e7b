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

    most = None

    def most_images(self):
        return self.most

    def images_a_call(self):
        return None

    def infer(self, model, inputs, *, optimised=True):
        logits = self.right[: len(inputs)].copy()
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
            return {"rounds": rounds, "turns": [1] * 6, "conditions": {}, "set_aside": []}, tuple(suspect)

        monkeypatch.setattr(targets, "connect", connect)
        monkeypatch.setattr(targets, "measure_calmly", measure_calmly)
        files = tuple(Artifact(kind, f"student.{kind}.onnx", "0" * 64, 1) for kind in ("fp32", "ort", "ort-w7"))
        folder = tmp_path / "step"
        folder.mkdir()
        outcome = benchmark.run(
            Context(
                recipe,
                folder,
                {"export": Input(Outcome(files), Path("export")), "build": Input(Outcome(()), Path("build"))},
                "cpu",
            )
        )
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


def test_the_waterfall_parts_the_drop_into_rounding_and_the_runtime(measured):
    """The device's int8 session turns the first image wrong; as written the file does so too, so the runtime is not to blame."""
    outcome, by_name, _ = measured()
    (fell,) = outcome.notes["waterfall"]
    assert (fell["flavour"], fell["images"], fell["n"]) == ("ort", "test", by_name["top1"].n)
    assert [one["name"] for one in fell["steps"]] == [
        "onnxruntime, fp32", "onnxruntime, every node as written", "onnxruntime, int8 as the app runs it",
    ]  # fmt: skip
    rounding, runtime = fell["hops"]
    assert (rounding["lost"], rounding["won"], runtime["lost"], runtime["won"]) == (1, 0, 0, 0)
    assert (runtime["drop"], runtime["low"] < 0 < runtime["high"], runtime["max_abs"]) == (0, True, 0.25)
    assert fell["steps"][2]["top1"] == by_name["top1"].value and fell["hops"][0]["worst"] is None


def test_an_fp32_targets_waterfall_is_of_its_one_model(measured):
    (fell,) = measured(precision="fp32")[0].notes["waterfall"]
    assert [one["name"] for one in fell["steps"]] == ["onnxruntime, every node as written", "onnxruntime, as the app runs it"]


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


class Jetson(Device):
    """A TensorRT device: answers by engine; its fp16 engine is as fast as the case says."""

    def probe(self):
        return {
            "identity": {"arch": "aarch64", "isa": ["asimd"], "tensorrt": "10.3.0.30", "clocks": "not locked"},
            "conditions": {},
        }

    def infer(self, model, inputs, *, optimised=True):
        assert (model.suffix == ".engine") == optimised  # as written is onnxruntime's to run, here and not on the device
        return super().infer(model, inputs, optimised=optimised)


@pytest.fixture
def on_jetson(tmp_path, monkeypatch):
    def run(fp16_ms=2.0, most=None, power=None, overflow=False):
        text = RECIPE.replace("local-cpu, runtime: onnxruntime", "jetson-orin-nano-8gb, runtime: tensorrt")
        recipe = loads(text.replace("cpu:", "jetson:").replace("PRECISION", "int8+fp16"), "device.yaml", tmp_path)
        labels = data.open_dataset(recipe.data, root=None).test.labels
        device = Jetson(labels, ())
        device.most = most

        @contextmanager
        def connect(*_):
            yield device

        def measure_calmly(connection, models, example, plan):
            device.timed = {name: path.name for name, path in models.items()}
            rounds = {"fp32": SLOW, "fp16": [[fp16_ms] * 100] * 6, "int8+fp16": FAST}
            timed = {
                "rounds": {name: rounds[name] for name in models},
                "turns": [1] * 6,
                "conditions": {},
                "set_aside": [],
                "facts": {"tensorrt": "10.3.0"},
            }
            return {**timed, **({"power": {"int8+fp16": power}} if power else {})}, ()

        for name, stand_in in (("connect", connect), ("this_machine", connect), ("measure_calmly", measure_calmly)):
            monkeypatch.setattr(targets, name, stand_in)
        files = tuple(Artifact(kind, f"student.{kind}.onnx", "0" * 64, 1) for kind in ("fp32-b1", "fp16", "trt", "trt-fp16"))
        built = tuple(Artifact(f"engine-{one}", f"{one}.engine", "0" * 64, 1) for one in ("int8+fp16", "fp16", "fp32"))
        folder = tmp_path / "step"
        folder.mkdir()
        notes = {"overflow": "values of 1e6"} if overflow else {}
        inputs = {"export": Input(Outcome(files, (), notes), Path("export")), "build": Input(Outcome(built), Path("build"))}
        outcome = benchmark.run(Context(recipe, folder, inputs, "jetson"))
        return outcome, {one.name: one for one in outcome.measurements}, device

    return run


def test_engines_are_timed_against_fp16_as_well_as_fp32_and_say_by_which_tensorrt(on_jetson):
    outcome, by_name, device = on_jetson()
    assert device.timed == {"int8+fp16": "int8+fp16.engine", "fp16": "fp16.engine", "fp32": "fp32.engine"}
    assert (by_name["speedup"].value, by_name["speedup_fp16"].value, by_name["latency_ms_fp16.p50"].value) == (4.0, 2.0, 2.0)
    assert by_name["speedup_fp16"].conditions["against"] == "fp16 in the same runtime"
    assert by_name["latency_ms.p50"].conditions["tensorrt"] == "10.3.0" and "warning" not in outcome.notes
    assert by_name["latency_ms.p50"].conditions["labels"] == ["clocks not locked"]
    assert not {"power_w", "energy_mj"} & by_name.keys()


@pytest.mark.parametrize("fp16_ms", [1.0, 0.5])
def test_int8_that_is_no_faster_than_fp16_is_a_warning(on_jetson, fp16_ms):
    outcome, by_name, _ = on_jetson(fp16_ms)
    assert by_name["speedup_fp16"].value == fp16_ms
    assert outcome.notes["warning"].startswith(f"int8+fp16 is no faster here than fp16 ({fp16_ms:.2f} times its speed)")


def test_a_network_that_overflows_float16_is_not_compared_with_it(on_jetson):
    _, by_name, device = on_jetson(overflow=True)
    assert list(device.timed) == ["int8+fp16", "fp32"] and "speedup_fp16" not in by_name


def test_a_device_that_takes_few_images_is_asked_the_same_share_of_every_class(on_jetson):
    _, by_name, _ = on_jetson(most=50)
    assert {by_name[name].n for name in ("top1", "top1_fp32", "top1_drop", "parity.max_abs")} == {50}


def test_power_names_its_rails_and_what_idling_takes(on_jetson):
    rails = {"power_w": 7.5, "idle_w": 4.0, "energy_mj": 3.2, "rails": ["VDD_IN"], "samples": 20}
    _, by_name, _ = on_jetson(power=rails)
    assert (by_name["power_w"].value, by_name["power_w"].unit, by_name["energy_mj"].value) == (7.5, "W", 3.2)
    assert (by_name["power_w"].conditions["rails"], by_name["energy_mj"].conditions["idle_w"]) == (["VDD_IN"], 4.0)
