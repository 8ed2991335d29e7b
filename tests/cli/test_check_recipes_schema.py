"""check, recipes and schema: what they print, and that they touch nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgekd.cli import main

RECIPES = Path(__file__).parents[2] / "recipes"


def edgekd(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_pass_check_and_nothing_is_written(path, tmp_path):
    result = edgekd("check", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].startswith(f"{path.stem}: valid; steps: ")
    assert list(tmp_path.iterdir()) == []


def test_check_shows_targets_steps_gates_and_what_cannot_be_settled():
    recipe = str(RECIPES / "mobilenetv2_jetson.yaml")
    bounds = ["gates.distill.top1_drop={max: 0.001, confidence: 0.95}", "gates.teacher.top1.waive=first try"]
    result = edgekd("check", recipe, *(word for bound in bounds for word in ("--set", bound)))
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["target", "cpu", "local-cpu", "onnxruntime", "int8", "required:", "always"] in lines
    assert ["gate", "distill", "top1_drop", "≤", "0.001", "at", "0.95", "confidence"] in lines
    assert any(line[:3] == ["gate", "teacher", "top1"] and line[-3:] == ["waived:", "first", "try"] for line in lines)
    assert ["step", "jetson/build", "to", "do", "files", "and", "commands", "only"] in lines
    assert any(line[:4] == ["step", "jetson/benchmark", "not", "measured"] for line in lines)
    assert any(line.startswith("cannot be settled: distill: ") for line in result.stdout.splitlines())


def test_check_prints_one_json_document():
    document = json.loads(edgekd("check", str(RECIPES / "mobilenetv2_jetson.yaml"), "--json").stdout)
    assert (document["schema"], document["exit_code"], document["recipe"]["name"]) == (1, 0, "mobilenetv2_jetson")
    assert {"images", "steps", "gates", "unsettled"} <= set(document)


def test_a_folder_that_is_not_there_is_found_before_anything_runs():
    data = "data={source: imagefolder, path: no/images, image_size: 32}"
    result = edgekd("check", str(RECIPES / "mobilenetv2_jetson.yaml"), "--set", data)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"--set {data}: data.path: no folder '")


def test_recipes_are_listed_copied_and_never_overwritten(tmp_path):
    (line,) = (line for line in edgekd("recipes").stdout.splitlines() if line.startswith("mobilenetv2_jetson "))
    assert line.split(maxsplit=1)[1].startswith("A small student")
    assert edgekd("recipes", "cp", "mobilenetv2_jetson").exit_code == 0
    copy = tmp_path / "mobilenetv2_jetson.yaml"
    assert copy.read_bytes() == (RECIPES / "mobilenetv2_jetson.yaml").read_bytes()
    copy.write_text("mine")
    again = edgekd("recipes", "cp", "mobilenetv2_jetson")
    assert (again.exit_code, copy.read_text()) == (2, "mine")
    assert edgekd("recipes", "cp", "mobilenetv2_jetson", "own.yaml").exit_code == 0


def test_a_recipe_that_is_not_shipped_is_refused_with_the_nearest():
    result = edgekd("recipes", "cp", "mobilenetv2_jetsn")
    assert (result.exit_code, result.stderr.split("\n")[0]) == (
        2,
        "no shipped recipe 'mobilenetv2_jetsn'; did you mean 'mobilenetv2_jetson'?",
    )


@pytest.mark.parametrize("of", ["recipe", "report"])
def test_schemas_are_json_schemas(of):
    document = json.loads(edgekd("schema", of).stdout)
    assert document["type"] == "object"
    assert document["properties"]
