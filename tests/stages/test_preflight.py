"""Preflight on a device that says what it is told to: what is timed, for how long, and what the fastest query is good for."""

from contextlib import contextmanager

import numpy as np
import pytest

from edgekd import targets
from edgekd.core import Outcome
from edgekd.recipe import Recipe, loads
from edgekd.stages import Context, Input, preflight

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
  preflight: {cpu: {latency_ms: {p99: {max: 5}}}}
  benchmark: {cpu: {latency_ms: {p90: {max: 5, confidence: 0.999}}}}
"""
SLOW, FAST = [[4.0] * 100] * 6, [[1.0] * 99 + [9.0]] * 5 + [[0.5] + [1.0] * 99]


class Device:
    def probe(self):
        return {"identity": {"arch": "x86_64", "isa": ["avx2"]}, "conditions": {}}

    def build(self, models):
        return {name: targets.Built(path, 0.1, 2.5, 70.0, []) for name, path in models.items()}

    def measure(self, models, example, plan):
        """A first look: the model alone."""
        assert list(models) != ["fp32", "int8"] and plan.rounds == 1
        return {"rounds": {name: [[self.first_look, self.first_look + 1]] for name in models}, "conditions": {}}

    first_look = 1.0


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Run the stage on a sketch; returns its measurements by name, and how it was timed."""

    def run(precision="int8", suspect=()):
        asked = {}

        @contextmanager
        def connect(target, reach):
            yield Device()

        def measure_calmly(device, models, example, plan, **options):
            asked.update(options, models={name: path.name for name, path in models.items()}, plan=plan, example=example)
            rounds = {name: SLOW if name == "fp32" else FAST for name in models}
            return {"rounds": rounds, "turns": [1] * 6, "conditions": {}, "set_aside": []}, tuple(suspect)

        monkeypatch.setattr(targets, "connect", connect)
        monkeypatch.setattr(targets, "measure_calmly", measure_calmly)
        context = Context(loads(RECIPE.replace("PRECISION", precision), "device.yaml", tmp_path), tmp_path / "sketch")
        context.folder.mkdir()
        np.save(context.folder / "example.npy", np.ones((1, 3, 8, 8), np.float32))
        for flavour in ("fp32", "ort", "ort-w7"):
            (context.folder / f"student.{flavour}.onnx").write_bytes(b"")
        files = [context.keep(flavour, context.folder / f"student.{flavour}.onnx") for flavour in ("fp32", "ort", "ort-w7")]
        sketch = Outcome((*files, context.keep("example", context.folder / "example.npy")))
        (tmp_path / "step").mkdir()
        outcome = preflight.run(Context(context.recipe, tmp_path / "step", {"sketch": Input(sketch, context.folder)}, "cpu"))
        return {one.name: one for one in outcome.measurements}, asked

    return run


def test_the_file_that_suits_the_device_is_timed_on_a_real_image_against_fp32(measured):
    by_name, asked = measured()
    assert asked["models"] == {"int8": "student.ort-w7.onnx", "fp32": "student.fp32.onnx"}
    assert asked["example"].shape == (1, 3, 8, 8)
    assert (by_name["latency_ms.p50"].value, by_name["latency_ms.p99"].value, by_name["speedup"].value) == (1.0, 1.0, 4.0)
    assert (by_name["size_mb"].value, by_name["peak_memory_mb"].value) == (2.5, 70.0)
    assert {one.conditions["weights"] for one in by_name.values()} == {"untrained"}


def test_an_fp32_target_is_not_compared_with_itself(measured):
    by_name, asked = measured(precision="fp32")
    assert asked["models"] == {"fp32": "student.fp32.onnx"} and "speedup" not in by_name


def test_the_fastest_of_all_queries_stands_whatever_slowed_the_others(measured):
    by_name, _ = measured(suspect=("other work ran",))
    assert (by_name["latency_ms.fastest"].value, by_name["latency_ms.fastest"].n) == (0.5, 600)
    suspect = {name for name, one in by_name.items() if one.suspect}
    assert suspect == {"latency_ms.p50", "latency_ms.p90", "latency_ms.p99", "speedup"}


def test_it_measures_as_much_as_its_own_gates_need_and_no_longer(measured):
    _, asked = measured()
    assert (asked["plan"].rounds, asked["plan"].rounds * asked["plan"].queries >= 662) == (6, True)  # p99; not 10 rounds
    assert asked["plan"].round_s < targets.MeasuringPlan().round_s


@pytest.mark.parametrize(("first_look", "bound_ms", "cut"), [(6.3, 5, True), (6.2, 5, False), (99.0, None, False)])
def test_a_bound_out_of_reach_is_seen_at_the_first_look_and_nothing_is_timed_further(
    measured, monkeypatch, first_look, bound_ms, cut
):
    monkeypatch.setattr(Device, "first_look", first_look)
    if bound_ms is None:
        monkeypatch.setattr(Recipe, "tightest_latency", lambda recipe, target: None)
    by_name, asked = measured()
    assert (asked == {}) is cut is ("latency_ms.p50" not in by_name)
    assert by_name["latency_ms.fastest"].value == (first_look if cut else 0.5)
