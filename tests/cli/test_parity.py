"""edgekd parity: two files on the same images; agreement, flips, and the first tensor from which on they part."""

import json

import numpy as np
import onnx
import pytest
import tiny_models as TINY
from click.testing import CliRunner
from onnx import numpy_helper
from PIL import Image

from edgekd.cli import main
from edgekd.export.lint import Graph
from edgekd.export.matching import matched
from edgekd.pipeline import parity as module


def edgekd(*words):
    return CliRunner().invoke(main, ["parity", *map(str, words)])


def document_of(*words):
    result = edgekd(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def changed(path, source, change):
    """A copy of a model after ``change(graph)``."""
    model = onnx.load(str(source))
    change(model.graph)
    onnx.save(model, str(path))
    return path


def weights(name, make):
    """Replace the constant ``name`` by ``make(its values)``."""

    def change(graph):
        (tensor,) = (one for one in graph.initializer if one.name == name)
        tensor.CopyFrom(numpy_helper.from_array(make(numpy_helper.to_array(tensor)).astype("f4"), name))

    return change


def renamed(graph):
    """Every tensor inside and every node by another name, as another exporter would have it."""
    kept = {graph.input[0].name, graph.output[0].name}
    for one in (*graph.node, *graph.initializer):
        one.name = f"x.{one.name}" if one.name else ""
    for node in graph.node:
        node.input[:] = [name if name in kept else f"x.{name}" for name in node.input]
        node.output[:] = [name if name in kept else f"x.{name}" for name in node.output]


@pytest.fixture
def model(tmp_path):
    (tmp_path / "ä b").mkdir()
    return TINY.float_model(tmp_path / "ä b" / "a.onnx")


def by_name(document):
    return {one["name"]: one for one in document["measurements"]}


def test_a_change_in_one_layer_is_where_they_part(model, tmp_path):
    other = changed(tmp_path / "b.onnx", model, weights("v", lambda v: v[:, ::-1]))
    document = document_of(model, other, "--layers")
    layers = document["layers"]
    assert (layers["matched"], layers["limit_db"], layers["parts_at"]["node"]) == ("name", 60.0, "fc")
    assert {row["node"]: row["sqnr_db"] for row in layers["tensors"] if row["node"] != "fc"} == {
        "conv": 200.0, "GlobalAveragePool, node 2": 200.0, "Flatten, node 3": 200.0,
    }  # fmt: skip
    screen = edgekd(model, other, "--layers").stdout
    assert screen.splitlines()[-1].endswith("dB)") and "below 60 dB from fc on" in " ".join(screen.split())


def test_without_layers_logits_alone_are_compared_and_equal_ones_are_equal(model, tmp_path):
    document = document_of(model, changed(tmp_path / "b.onnx", model, renamed))
    found = by_name(document)
    assert (found["parity.top1_agreement"]["value"], found["parity.max_abs"]["value"], document["layers"]) == (1.0, 0.0, None)
    assert found["parity.sqnr_db"]["value"] == 200.0 and found["parity.top1_agreement"]["n"] == 64
    assert "blurred noise" in document["images"]["said"] and "top1_drop" not in found


def test_files_of_other_tools_are_matched_by_the_order_of_their_layers(model, tmp_path):
    other = changed(tmp_path / "b.onnx", model, renamed)
    layers = document_of(model, other, "--layers")["layers"]
    assert layers["matched"] == "order" and [row["node"] for row in layers["tensors"]] == ["conv", "fc"]
    assert layers["parts_at"] is None


def test_an_int8_file_is_compared_with_its_float_file_by_name(model, tmp_path):
    int8 = TINY.symmetric_model(tmp_path / "int8.onnx")
    layers = document_of(model, int8, "--layers")["layers"]
    assert (layers["limit_db"], [row["node"] for row in layers["tensors"]][:1]) == (20.0, ["conv"])


def test_a_file_and_itself_is_as_written_against_optimised(tmp_path):
    int8 = TINY.int8_model(tmp_path / "int8.onnx", 63)
    document = document_of(int8, int8, "--layers")
    assert [one["ran"] for one in document["models"]] == ["every node as written", "optimised"]
    assert {row["tensor"] for row in document["layers"]["tensors"]} == {"q", "cq"}


def test_a_float_file_and_itself_has_nothing_inside_to_compare(model):
    result = edgekd(model, model, "--layers")
    assert (result.exit_code, result.stdout) == (2, "") and "no activation of this file is rounded" in result.stderr


def folder_of_images(folder, classes):
    dice = np.random.default_rng(3)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(dice.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_folders_named_by_class_give_accuracies_and_the_paired_flips(model, tmp_path):
    other = changed(tmp_path / "b.onnx", model, weights("v", lambda v: np.roll(v, 1, axis=1)))
    images = folder_of_images(tmp_path / "images", "abcd")
    document = document_of(model, other, "--images", images)
    found = by_name(document)
    lost, won = found["top1_drop"]["counts"]
    right = [found[f"top1.{one}"]["counts"][0] for one in ("first", "second")]
    assert (document["images"]["n"], document["images"]["labels"]) == (20, True)
    assert lost - won == right[0] - right[1] and found["top1_drop"]["low"] < found["top1_drop"]["high"]
    assert f"{lost} lost, {won} won" in edgekd(model, other, "--images", images).stdout


@pytest.mark.parametrize("classes", [("a", "b"), ("",)])
def test_images_without_the_models_classes_are_compared_without_labels(model, tmp_path, classes):
    images = tmp_path / "images"
    folder_of_images(images, classes) if classes != ("",) else folder_of_images(images / "x", ("y",))
    where = images if classes != ("",) else images / "x" / "y"
    document = document_of(model, model, "--images", where)
    assert document["images"]["labels"] is False and "top1_drop" not in by_name(document)


def test_a_recipes_held_out_images_are_made_as_the_recipe_makes_them(model, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "edgekd: 1\nname: r\ndata: {source: digits, image_size: 8}\nteacher: {model: resnet18, epochs: 1}\n"
        "student: {model: mobilenet_v2}\ndistill: {method: label, epochs: 1}\n"
        "targets: {cpu: {device: local-cpu, runtime: onnxruntime}}\n"
    )
    document = document_of(model, model, "--data", recipe)
    assert (
        "held-out images of" in document["images"]["said"] and document["images"]["n"] == by_name(document)["parity.max_abs"]["n"]
    )
    recipe.write_text(recipe.read_text().replace("image_size: 8", "image_size: 16"))
    result = edgekd(model, model, "--data", recipe)
    assert result.exit_code == 2 and "images of 16 x 16, models of 8 x 8" in result.stderr


def test_a_bundles_preprocessing_is_that_of_the_folders_images(model, tmp_path):
    images = folder_of_images(tmp_path / "images", "abcd")
    spec = tmp_path / "preprocessing.json"
    spec.write_text(json.dumps(TINY.SPEC))
    other = changed(tmp_path / "b.onnx", model, weights("v", lambda v: v * 1.5))
    own, imagenet = (
        by_name(document_of(model, other, "--images", images, *words))["parity.max_abs"]["value"]
        for words in (("--preprocessing", spec), ())
    )
    assert own != imagenet
    spec.write_text("[]")
    result = edgekd(model, other, "--images", images, "--preprocessing", spec)
    assert result.exit_code == 2 and "this is no preprocessing" in result.stderr


def other_classes(graph):
    weights("v", lambda v: v[:, :3])(graph)
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3


def other_size(graph):
    graph.input[0].type.tensor_type.shape.dim[2].dim_value = 16


def nothing_shared(graph):
    renamed(graph)
    graph.node[0].op_type, graph.node[3].op_type = "Conv", "MatMul"
    weights("x.w", lambda w: w[:, :, :1, :1])(graph)
    del graph.node[0].attribute[:]


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (other_classes, (), "different classes"),
        (other_size, (), "take different inputs"),
        (nothing_shared, ("--layers",), "no tensor is in both models"),
    ],
)
def test_models_that_cannot_be_compared_are_refused_with_both_named(model, tmp_path, change, words, said):
    other = changed(tmp_path / "b.onnx", model, change)
    result = edgekd(model, other, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr and str(model) in result.stderr and "b.onnx" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--images", ".", "--data", "r.yaml"), "images are of one place"),
        (("--preprocessing", "p.json"), "no images to preprocess"),
        (("--images", "no such folder"), "there is no such folder"),
    ],
)
def test_images_that_cannot_be_meant_are_refused(model, words, said):
    result = edgekd(model, model, *words)
    assert result.exit_code == 2 and said in result.stderr


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_answers_as_a_free_one(model, tmp_path, batch):
    document = document_of(TINY.float_model(tmp_path / "b.onnx", batch=batch), model, "--layers")
    assert by_name(document)["parity.sqnr_db"]["value"] > 100 and document["layers"]["parts_at"] is None
    assert by_name(document)["parity.sqnr_db"]["n"] == 64


def test_a_model_that_onnxruntime_refuses_is_named(model, tmp_path):
    def unknown(graph):
        graph.node[1].op_type = "NoSuchOp"

    result = edgekd(model, changed(tmp_path / "b.onnx", model, unknown))
    assert result.exit_code == 2 and "b.onnx: onnxruntime refuses the model" in result.stderr and "NoSuchOp" in result.stderr


def test_logits_that_are_no_numbers_agree_with_nothing_and_are_said(model, tmp_path):
    other = changed(tmp_path / "b.onnx", model, weights("v", lambda v: v * np.nan))
    document = document_of(model, other, "--layers")
    found = by_name(document)
    assert (found["parity.top1_agreement"]["value"], found["parity.sqnr_db"]["value"]) == (0.0, None)
    assert document["layers"]["worst"]["sqnr_db"] is None and document["layers"]["parts_at"]["node"] == "fc"
    assert "a logit is not finite" in " ".join(edgekd(model, other).stdout.split())


def test_looking_inside_without_onnx_says_what_to_install(model, tmp_path, monkeypatch):
    other = changed(tmp_path / "b.onnx", model, renamed)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    result = edgekd(model, other, "--layers")
    assert result.exit_code == 5 and "pip install" in result.stderr


def test_a_dip_that_recovers_is_not_where_they_part():
    def first(*values):
        found = module._parts_at([{"sqnr_db": one} for one in values], 20.0)
        return None if found is None else found["sqnr_db"]

    assert first(40, 10, 30) is None and first(40, 10, 30, 12, 15) == 12 and first(5, 6) == 5 and first(40) is None
    assert first(40, None) is None  # no number is where they part, and stands as null
    assert module._parts_at([{"sqnr_db": 40}, {"sqnr_db": None}], 20.0) == {"sqnr_db": None}


def test_a_relu_is_the_clip_or_leaky_relu_that_a_pass_made_of_it_and_another_op_of_its_name_is_not(tmp_path):
    def graph(op):
        made = onnx.load(str(TINY.float_model(tmp_path / f"{op}.onnx")))
        made.graph.node.insert(1, onnx.helper.make_node(op, ["c"], ["r"], name="act"))
        return Graph(made)

    pairs = {op: [one.node for one in matched(graph("Relu"), graph(op))[0]] for op in ("Relu", "LeakyRelu", "Sigmoid")}
    assert pairs["Relu"] == pairs["LeakyRelu"] and set(pairs["Relu"]) - set(pairs["Sigmoid"]) == {"act"}
