"""A valid recipe: what it becomes, where its paths start, and what its canonical form depends on."""

import json
from pathlib import Path

import pytest
from as_nobody import as_nobody
from pydantic import ValidationError

from edgekd.core import Gate, RecipeError, digest
from edgekd.recipe import KD, Nothing, Recipe, error_at, load, missing_files

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_values_are_read_and_defaults_filled_in(recipe):
    read = recipe()
    assert isinstance(read.distill, KD)
    assert (read.distill.epochs, read.distill.temperature, read.distill.batch_size) == (12, 4.0, 64)
    assert (read.teacher.weights, read.student.weights, read.quantize.mode, read.seed) == ("train", "none", "ptq", 0)
    assert (read.data.height_width, read.targets["cpu"].required) == ((32, 32), "always")


def test_a_recipe_is_frozen(recipe):
    with pytest.raises(ValidationError):
        recipe().seed = 1
    with pytest.raises(ValidationError):
        recipe().data.image_size = 64


def test_training_is_skipped_for_a_trained_student(recipe, good):
    text = good.replace("  method: kd\n  epochs: 12\n", "  method: none\n")
    assert isinstance(recipe(text, "student.weights=trained.safetensors").distill, Nothing)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_like_their_file(path):
    assert load(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_as_json_wrote_is_read_back_to_the_same(path):
    first = load(path)
    again = Recipe.from_json({**first.as_json(), "folder": str(path.parent)})
    assert again.as_json() == first.as_json()
    assert (again.gate_list(), again.folder) == (first.gate_list(), path.parent)


@pytest.mark.parametrize("taps", ["auto", [], [["layer2", "features.6"]]])
def test_taps_are_written_as_they_were_given(recipe, good, taps):
    written = recipe(good, "distill.method=channel", f"distill.taps={json.dumps(taps)}").as_json()
    assert written["distill"]["taps"] == taps


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data.image_size", [16, 24]),
        ("teacher", {"weights": "big.ONNX", "normalization": "imagenet"}),
        ("teacher", {"weights": "big.onnx", "normalization": {"mean": [0.5, 0.5, 0.5], "std": [1.0, 0.5, 2.0]}}),
    ],
)
def test_a_value_of_one_of_several_kinds_is_written_as_it_was_given(recipe, good, option, value):
    written = recipe(good, f"{option}={json.dumps(value)}").as_json()
    assert Recipe.from_json(written).as_json() == written
    section, _, key = option.partition(".")
    if key:
        assert written[section][key] == value
    else:
        assert {name: written[section][name] for name in value} == value


def test_canonical_form_ignores_comments_order_defaults_and_number_style(recipe, good):
    other = good.replace("  method: kd\n  epochs: 12\n", "  # slow\n  epochs: 12\n  temperature: 4\n  method: kd\n")
    assert digest(recipe(other).as_json()) == digest(recipe().as_json())


def test_every_value_of_the_recipe_is_in_the_canonical_form(recipe, good):
    before = digest(recipe().as_json())
    changes = [
        "seed=1",
        "distill.epochs=13",
        "data.split_seed=2",
        "targets.cpu.threads=2",
        "gates.distill.top1.waive=known",
        "name=other",
    ]
    assert len({digest(recipe(good, change).as_json()) for change in changes} | {before}) == len(changes) + 1


def test_a_recipe_moved_with_its_data_says_the_same(recipe, good, tmp_path):
    text = good.replace("{source: digits, image_size: 32}", "{source: imagefolder, path: images, image_size: 32}")
    here, there = recipe(text, folder=tmp_path / "here"), recipe(text, folder=tmp_path / "there")
    assert digest(here.as_json()) == digest(there.as_json())
    assert here.resolve(here.data.path) == tmp_path / "here" / "images"
    assert there.resolve("/data") == Path("/data")


def test_files_the_recipe_names_and_the_machine_lacks_are_found_with_their_place(recipe, good, tmp_path):
    text = good.replace("{source: digits, image_size: 32}", "{source: imagefolder, path: images, image_size: 32}")
    read = recipe(text, "student.weights=w.pt", folder=tmp_path)
    assert [error.where for error in missing_files(read)] == ["--set student.weights=w.pt", "a.yaml:3:35"]
    (tmp_path / "images").mkdir()
    (tmp_path / "w.pt").touch()
    assert missing_files(read) == ()


def test_a_later_room_can_place_its_error_in_the_file(recipe):
    error = error_at(recipe(), "targets.cpu.device", "no profile of a device 'local-cpu'", seen="local-cpu")
    assert (error.where, error.snippet.split("\n")[1].index("^")) == ("a.yaml:10:17", 8 + 16)
    plain = Recipe.model_validate(recipe().as_json())
    assert error_at(plain, "student.model", "no model").where == "student.model"


def test_a_document_that_is_no_recipe_is_a_recipe_error():
    with pytest.raises(RecipeError):
        Recipe.from_json({"name": "small"})


def test_gates_come_in_the_order_of_the_file(recipe, good):
    gates = "  benchmark: {cpu: {latency_ms: {p99: {max: 9}, p50: {max: 2, confidence: 0.95}}}}\n"
    gates += "  distill: {top1: {max: 1, min: 0.9}}\n"
    assert recipe(good.replace("  distill: {top1: {min: 0.9}}\n", gates)).gate_list() == (
        Gate("benchmark", "cpu", "latency_ms.p99", "max", 9.0),
        Gate("benchmark", "cpu", "latency_ms.p50", "max", 2.0, 0.95),
        Gate("distill", None, "top1", "max", 1.0),
        Gate("distill", None, "top1", "min", 0.9),
    )


def test_a_recipe_without_gates_is_valid(recipe, good):
    assert recipe(good.replace("gates:\n  distill: {top1: {min: 0.9}}\n", "")).gate_list() == ()


def test_anchors_and_aliases_are_allowed_in_measure(recipe, good):
    text = good.replace("epochs: 8}", "epochs: &n 8}").replace("epochs: 12", "epochs: *n")
    assert recipe(text).distill.epochs == 8


def test_a_path_below_a_forbidden_folder_says_so(recipe, good, tmp_path):
    (tmp_path / "closed" / "pictures").mkdir(parents=True)
    read = recipe(good, "data.source=imagefolder", f"data.path={tmp_path}/closed/pictures")
    (tmp_path / "closed").chmod(0)
    with as_nobody(tmp_path / "closed"):
        (error,) = missing_files(read)
    assert error.what.startswith("data.path: ") and error.what.endswith("cannot be looked at: Permission denied")
