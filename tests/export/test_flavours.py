import copy
import json

import hard_nets
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper

from edgekd.core import InputError
from edgekd.export import FLAVOURS, flavour, layers, run_onnx, write
from edgekd.export.rewriting import weight_scale

NAMES = [kind.__name__ for kind in hard_nets.NETS]
INTEGER = ["Residual", "Inverted", "Shuffled", "PreActivated"]  # nothing in them is float
INT8 = ["ort", "ort-w7"]


class Graph:
    def __init__(self, model: ModelProto) -> None:
        self.model, self.nodes = model, list(model.graph.node)
        self.by_output = {node.output[0]: node for node in self.nodes}
        self.value = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}

    def readers(self, name):
        return [node for node in self.nodes if name in node.input]

    def kind(self, name):
        return self.by_output[name].op_type if name in self.by_output else None


@pytest.fixture(params=INT8)
def int8(request):
    return request.param


@pytest.fixture(scope="module")
def graph(exported):
    made = {}

    def get(name, kind):
        if (name, kind) not in made:
            quantized, marked = exported(name)
            made[name, kind] = Graph(flavour(marked, quantized.state_dict(), quantized.sites, kind))
        return made[name, kind]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_quantize_and_dequantize_come_in_pairs_on_one_grid(graph, name, int8):
    g = graph(name, int8)
    pairs = [node for node in g.nodes if node.op_type == "QuantizeLinear"]
    assert pairs
    for node in pairs:
        (reader, *more) = g.readers(node.output[0])
        assert reader.op_type == "DequantizeLinear" and list(reader.input[1:]) == list(node.input[1:])
        assert all(other.op_type == "DequantizeLinear" for other in more)
        scale, zero_point = (g.value[one] for one in node.input[1:])
        assert scale.shape == zero_point.shape == () and zero_point.dtype == np.uint8
        assert np.isfinite(scale) and scale > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_quantized_layer_has_int8_weights_and_an_int32_bias_per_output_channel(graph, exported, name, int8):
    g = graph(name, int8)
    quantized, _ = exported(name)
    grid = {entry["name"]: entry for entry in quantized.sites["sites"]}
    by_name = {node.name: node for node in g.nodes}
    for entry in quantized.sites["layers"]:
        node = by_name[entry["layer"]]
        data, weight, bias = (g.by_output[one] for one in node.input)
        assert data.op_type == weight.op_type == bias.op_type == "DequantizeLinear"
        assert weight.attribute[0].i == bias.attribute[0].i == 0
        q_w, s_w, z_w = (g.value[one] for one in weight.input)
        q_b, s_b, z_b = (g.value[one] for one in bias.input)
        assert (q_w.dtype, q_b.dtype) == (np.int8, np.int32) and not z_w.any() and not z_b.any()
        assert s_w.shape == s_b.shape == (len(q_w),)
        assert np.abs(q_w.astype(int)).max() <= (127 if int8 == "ort" else 64)
        assert np.array_equal(s_b, np.float32(grid[entry["input"]]["scale"]) * s_w)  # exactly s_x * s_w


@pytest.mark.parametrize("name", NAMES)
def test_nothing_between_a_convolution_and_its_clamp_and_a_quantize_behind(graph, exported, name, int8):
    g = graph(name, int8)
    quantized, _ = exported(name)
    convs = {entry["layer"] for entry in quantized.sites["layers"] if entry["op"] == "Conv"}
    for node in g.nodes:
        if node.name in convs:
            readers = g.readers(node.output[0])
            if readers[0].op_type in ("Relu", "Clip"):
                readers = g.readers(readers[0].output[0])
            assert [reader.op_type for reader in readers] == ["QuantizeLinear"]


@pytest.mark.parametrize("name", INTEGER)
def test_element_wise_ops_and_moves_read_integers_and_write_integers(graph, name, int8):
    g = graph(name, int8)
    for node in g.nodes:
        if node.op_type in (
            "Add",
            "Mul",
            "Concat",
            "GlobalAveragePool",
            "MaxPool",
            "Slice",
            "Transpose",
            "AveragePool",
            "Reshape",
        ):
            data = [one for one in node.input if one not in g.value]
            assert all(g.kind(one) == "DequantizeLinear" for one in data), node.name
            behind = g.readers(node.output[0])
            behind = g.readers(behind[0].output[0]) if behind[0].op_type in ("Relu", "Clip") else behind
            assert [reader.op_type for reader in behind] == ["QuantizeLinear"], node.name


def test_moved_tensors_have_one_grid(graph, int8):
    g = graph("Shuffled", int8)
    for node in g.nodes:
        if node.op_type in ("MaxPool", "Slice", "Transpose", "Reshape"):
            ends = [g.by_output[one] for one in node.input if g.kind(one) == "DequantizeLinear"]
            ends += g.readers(node.output[0])
            assert len({tuple(g.value[one].item() for one in end.input[1:]) for end in ends}) == 1


def test_the_stem_has_a_fourth_channel_of_zeros(graph, int8):
    g = graph("Residual", int8)
    stem = next(node for node in g.nodes if node.name == "stem")
    weight = g.value[g.by_output[stem.input[1]].input[0]]
    assert weight.shape[1] == 4 and not weight[:, 3].any() and weight[:, :3].any()
    assert [node.op_type for node in g.nodes][:2] == ["Pad", "QuantizeLinear"]


@pytest.mark.parametrize("name", INTEGER)
def test_onnxruntime_runs_no_float_convolution_and_drops_every_clamp(graph, name, int8, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 4
    model = graph(name, int8).model
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert not kinds & {
        "Conv",
        "FusedConv",
        "Gemm",
        "Add",
        "Mul",
        "Relu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "LeakyRelu",
        "Concat",
    }
    assert {"QLinearConv", "QGemm"} <= kinds


@pytest.mark.parametrize("name", NAMES)
def test_each_flavour_says_what_it_is_and_holds_no_marker(exported, name):
    quantized, marked = exported(name)
    for kind in FLAVOURS:
        model = flavour(marked, quantized.state_dict(), quantized.sites, kind)
        facts = {one.key: one.value for one in model.metadata_props}
        assert facts["edgekd.flavour"] == kind
        assert facts.get("edgekd.weight_bits") == {"ort": "8", "ort-w7": "7", "trt": "8", "trt-fp16": "8"}.get(kind)
        assert all(node.domain == "" for node in model.graph.node)
        onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("kind", ["trt", "fp16", "trt-fp16", "fp32-b1"])
def test_what_tensorrt_builds_has_a_batch_of_one(exported, kind):
    quantized, marked = exported("Residual")
    batch = {
        name: [value.type.tensor_type.shape.dim[0].dim_value for value in (model.graph.input[0], model.graph.output[0])]
        for name in (kind, "fp32")
        for model in [flavour(marked, quantized.state_dict(), quantized.sites, name)]
    }
    assert batch == {kind: [1, 1], "fp32": [0, 0]}


def test_making_flavours_leaves_the_marked_graph_as_it_was_and_gives_the_same_bytes_twice(exported):
    quantized, marked = exported("Inverted")
    before = marked.SerializeToString(deterministic=True)
    first = [
        flavour(marked, quantized.state_dict(), quantized.sites, kind).SerializeToString(deterministic=True) for kind in FLAVOURS
    ]
    table = json.loads(json.dumps(quantized.sites))
    assert first == [
        flavour(marked, quantized.state_dict(), table, kind).SerializeToString(deterministic=True) for kind in FLAVOURS
    ]
    assert marked.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "mutation", ["site missing", "site unknown", "layer missing from graph", "layer reads another site", "flavour"]
)
def test_a_table_that_is_not_this_graphs_is_refused(exported, mutation):
    quantized, marked = exported("Residual")
    table, kind = copy.deepcopy(quantized.sites), "ort"
    if mutation == "site missing":
        table["sites"].pop()
    elif mutation == "site unknown":
        table["sites"].append({**table["sites"][0], "name": "elsewhere"})
    elif mutation == "layer missing from graph":
        table["layers"].append({**table["layers"][0], "layer": "elsewhere"})
    elif mutation == "layer reads another site":
        table["layers"][0]["input"] = table["layers"][1]["input"]
    else:
        kind = "int4"
    with pytest.raises(InputError):
        flavour(marked, quantized.state_dict(), table, kind)


def test_the_weight_scale_rule_of_the_files_is_that_of_the_simulation_to_the_bit():
    import torch

    from edgekd.quant import weight_scale as simulated

    draw = np.random.default_rng(0)
    for levels in (127, 64):
        weight = draw.standard_normal((64, 5, 3, 3), dtype=np.float32) * (10.0 ** draw.integers(-12, 3, (64, 1, 1, 1))).astype(
            np.float32
        )
        weight[3] = 0
        bias = draw.standard_normal(64, dtype=np.float32)
        scale = np.float32(draw.uniform(1e-4, 1))
        ours = weight_scale(weight, bias, scale, levels)
        assert np.array_equal(ours, simulated(torch.from_numpy(weight), torch.from_numpy(bias), float(scale), levels).numpy())
        assert ours.dtype == np.float32 and (ours > 0).all()


def test_layers_lists_every_weighted_layer_of_every_flavour_with_a_reason_for_float(exported):
    quantized, marked = exported("Odd")
    listed = layers(marked, quantized.sites, FLAVOURS)
    assert set(listed) == set(FLAVOURS)
    int8 = {one["layer"]: (one["precision"], one["reason"]) for one in listed["ort"]}
    assert {name for name, (precision, _) in int8.items() if precision == "int8"} == {"stem", "last", "head"}
    assert "circular" in int8["wrap"][1] and "ConvTranspose2d" in int8["up"][1]
    assert {one["precision"] for one in listed["fp32"]} == {"fp32"} and {one["precision"] for one in listed["fp16"]} == {"fp16"}
    assert listed["trt"] == listed["ort"] and {one["precision"] for one in listed["trt-fp16"]} == {"int8", "fp16"}


def test_write_makes_a_file_a_flavour_that_runs(exported, tmp_path):
    quantized, marked = exported("Inverted")
    paths = write(marked, quantized.state_dict(), quantized.sites, tmp_path / "new folder", FLAVOURS)
    assert sorted(path.name for path in (tmp_path / "new folder").iterdir()) == [
        "student.fp16.onnx",
        "student.fp32-b1.onnx",
        "student.fp32.onnx",
        "student.ort-w7.onnx",
        "student.ort.onnx",
        "student.trt-fp16.onnx",
        "student.trt.onnx",
    ]
    images = hard_nets.images(3).numpy()
    for path in paths.values():
        logits = run_onnx(path, images, optimised=True)
        assert logits.shape == (3, 5) and logits.dtype == np.float32 and np.isfinite(logits).all()


@pytest.mark.parametrize("images", [np.zeros((0, 3, 16, 16)), np.zeros((1, 3, 8, 8)), np.zeros((3, 16, 16))])
def test_images_the_model_does_not_take_are_refused(exported, tmp_path, images):
    quantized, marked = exported("Inverted")
    paths = write(marked, quantized.state_dict(), quantized.sites, tmp_path, ["fp32"])
    with pytest.raises(InputError):
        run_onnx(paths["fp32"], images.astype(np.float32), optimised=True)
