"""The export step counts what the linter finds, for gates to bound, and keeps all of it for people to read."""

import json
from pathlib import Path

import tiny_models as TINY
from small_chain import RECIPE

from edgekd.recipe import loads
from edgekd.stages import Context
from edgekd.stages.lint import linted


def test_errors_of_all_files_are_one_count_with_a_warning_that_names_files_and_rules(tmp_path):
    paths = {
        "trt": TINY.symmetric_model(tmp_path / "student.trt.onnx", zero_point=3),
        "fp32": TINY.float_model(tmp_path / "student.fp32.onnx"),
    }
    kept, measured, notes = linted(Context(loads(RECIPE, "small.yaml", Path()), tmp_path), paths, "8.5")
    assert [(one.name, one.value, one.n) for one in measured] == [("lint.errors", 1.0, 2), ("lint.warnings", 0.0, 2)]
    assert "student.trt.onnx: asymmetric;" in notes["warning"] and "fp32" not in notes["warning"]
    told = json.loads((tmp_path / kept.path).read_text())
    assert (told["fp32"], [one["node"] for one in told["trt"]]) == ([], ["input_q"])
    sound = {"fp32": paths["fp32"]}
    assert linted(Context(loads(RECIPE, "small.yaml", Path()), tmp_path), sound, None)[2] == {}


def test_a_file_is_asked_the_rules_of_the_oldest_tensorrt_it_is_for(tmp_path):
    path = TINY.float_model(tmp_path / "student.fp32-b1.onnx", batch=1, opset=17)
    context = Context(loads(RECIPE, "small.yaml", Path()), tmp_path)
    errors = {oldest: linted(context, {"fp32-b1": path}, oldest)[1][0].value for oldest in ("8.2", "8.5", None)}
    assert errors == {"8.2": 1.0, "8.5": 0.0, None: 0.0}
    assert linted(context, {"trt-fp16": path}, "8.2")[1][0].value == 0.0  # no TensorRT before 10 is given that one


def test_a_gate_on_the_linters_errors_is_one_of_exports():
    recipe = loads(RECIPE.split("gates:")[0] + "gates: {export: {lint: {errors: {max: 0}}}}\n", "small.yaml", Path())
    assert [(gate.stage, gate.metric, gate.limit) for gate in recipe.gate_list()] == [("export", "lint.errors", 0.0)]
