"""A float ONNX file of any framework is read as a torch network that computes the same, or refused by the operator's name."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekd import models
from edgekd.core import InputError

IMAGES = np.random.default_rng(0).standard_normal((3, 4, 9, 8)).astype("f4")
W = np.random.default_rng(1).standard_normal((6, 4, 3, 3)).astype("f4")
ONE = np.linspace(0.5, 1.5, 4).astype("f4")
ROWS = np.random.default_rng(2).standard_normal((288, 5)).astype("f4")


def saved(path, nodes, constants=None, batch="n", opset=17, sides=(4, 9, 8)):
    """nodes: (op, inputs, outputs, attributes); "x" is the image, "y" the answer."""
    made = [helper.make_node(op, ins, outs, name=f"{op} {number}", **rest) for number, (op, ins, outs, rest) in enumerate(nodes)]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *sides])
    graph = helper.make_graph(made, "g", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def one(op, constants=(), opset=17, **attributes):
    """A file of one operator. constants: its other inputs, in order, None for one that is left out."""
    names = [f"c{number}" if value is not None else "" for number, value in enumerate(constants)]
    given = {name: value for name, value in zip(names, constants, strict=True) if name}
    return [(op, ["x", *names], ["y"], attributes)], given, opset


def i64(*values):
    return np.array(values, np.int64)


AFTER = {  # what follows from the operator alone, on images [N, 4, 9, 8]
    "conv": one("Conv", [W, np.ones(6, "f4")], pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv, depthwise, without bias": one("Conv", [W[:4, :1]], group=4, dilations=[2, 1]),
    "conv with pads at the end": one("Conv", [W], pads=[0, 0, 1, 1], strides=[2, 2]),
    "conv with unequal pads": one("Conv", [W], pads=[2, 0, 1, 1], strides=[2, 2]),
    "conv with unequal pads, dilated": one("Conv", [W], pads=[0, 2, 4, 2], dilations=[2, 2]),
    "conv, SAME_UPPER": one("Conv", [W], auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv, SAME_LOWER": one("Conv", [W], auto_pad="SAME_LOWER", strides=[2, 2]),
    "batch norm": one("BatchNormalization", [ONE, ONE - 1, ONE / 3, ONE * 2], epsilon=1e-3),
    "relu": one("Relu"),
    "relu6 as attributes": one("Clip", opset=10, min=0.0, max=6.0),
    "relu6": one("Clip", [np.float32(0), np.float32(6)]),
    "clip from below": one("Clip", [np.float32(0)]),
    "clip from above": one("Clip", [None, np.float32(0.3)]),
    "hard swish": one("HardSwish"),
    "hard sigmoid": one("HardSigmoid", alpha=1 / 6),
    "hard sigmoid of Keras": one("HardSigmoid"),
    "sigmoid": one("Sigmoid"),
    "leaky relu": one("LeakyRelu", alpha=0.2),
    "elu": one("Elu", alpha=0.5),
    "prelu": one("PRelu", [ONE.reshape(4, 1, 1)]),
    "tanh": one("Tanh"),
    "a number for all": one("Mul", [np.float32(3)]),
    "a number a channel": one("Div", [ONE.reshape(1, 4, 1, 1)]),
    "max pool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool, pads at the end": one("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 0]),
    "max pool, ceil": one("MaxPool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "average pool": one("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    "average pool with zeros": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "average pool, SAME_UPPER": one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    "global average": one("GlobalAveragePool"),
    "global maximum": one("GlobalMaxPool"),
    "mean of the places": one("ReduceMean", axes=[2, 3], keepdims=0),
    "mean of the places, axes as an input": one("ReduceMean", [i64(-1, -2)], opset=18),
    "flatten": one("Flatten"),
    "reshape": one("Reshape", [i64(0, 2, 2, -1)]),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "pad": one("Pad", [i64(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0)]),
    "slice": one("Slice", [i64(1), i64(3), i64(1)]),
    "slice of the rest": one("Slice", [i64(-2, 0), i64(2**40, 5), i64(1, 2)]),
    "softmax": one("Softmax", axis=3),
    "layer norm": one("LayerNormalization", [np.linspace(0, 2, 8).astype("f4"), np.ones(8, "f4")]),
    "gelu": one("Gelu", opset=20),
}  # fmt: skip


def answer(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images})[0]


def same(network, expected, images=IMAGES):
    with torch.no_grad():
        made = network(torch.from_numpy(images)).numpy()
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 2e-6 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", AFTER)
def test_an_operator_is_read_as_what_onnxruntime_computes(tmp_path, name):
    nodes, constants, opset = AFTER[name]
    path = saved(tmp_path / "m.onnx", nodes, constants, opset=opset)
    same(models.from_onnx(path, IMAGES), answer(path, IMAGES))


def test_tensors_are_joined_split_and_combined(tmp_path):
    nodes = [
        ("Split", ["x", "quarters"], ["a", "b"], {"axis": 1}),
        ("Mul", ["a", "b"], ["m"], {}),
        ("Concat", ["b", "m", "a"], ["c"], {"axis": 1}),
        ("Sub", ["three", "c"], ["d"], {}),
        ("Unsqueeze", ["d", "one"], ["e"], {}),
        ("Squeeze", ["e", "one"], ["y"], {}),
    ]
    path = saved(tmp_path / "m.onnx", nodes, {"quarters": i64(1, 3), "three": np.float32(3), "one": i64(1)})
    same(models.from_onnx(path, IMAGES), answer(path, IMAGES))


HEAD = [("GlobalAveragePool", ["c"], ["p"], {}), ("Flatten", ["p"], ["f"], {})]
CLASSIFIER = [
    ("Conv", ["x", "w"], ["c"], {}), *HEAD, ("MatMul", ["f", "v"], ["m"], {}), ("Add", ["m", "b"], ["s"], {}),
    ("Softmax", ["s"], ["y"], {"axis": 1}),
]  # fmt: skip
WEIGHTS = {"w": W, "v": ROWS[:6], "b": np.arange(5, dtype="f4")}


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_a_batch_that_the_file_fixes_is_free_in_the_network(tmp_path, batch):
    nodes = [*CLASSIFIER[:2], ("Reshape", ["p", "shape"], ["f"], {}), *CLASSIFIER[3:]]
    shape = i64(batch if batch != "n" else -1, 6)
    path = saved(tmp_path / "m.onnx", nodes, {**WEIGHTS, "shape": shape}, batch)
    expected = answer(saved(tmp_path / "free.onnx", CLASSIFIER, WEIGHTS), IMAGES)
    same(models.from_onnx(path, IMAGES), expected)


def test_shapes_that_the_file_computes_are_constants_of_the_network(tmp_path):
    nodes = [
        ("Conv", ["x", "w"], ["c"], {}), ("Shape", ["c"], ["shape"], {}), ("Gather", ["shape", "zero"], ["n"], {"axis": 0}),
        ("Unsqueeze", ["n", "axis"], ["n1"], {}), ("Concat", ["n1", "rest"], ["to"], {"axis": 0}),
        ("Reshape", ["c", "to"], ["f"], {}), ("Gemm", ["f", "v"], ["y"], {"alpha": 0.5}),
    ]  # fmt: skip
    constants = {"w": W, "v": ROWS[:252], "zero": np.int64(0), "axis": i64(0), "rest": i64(-1)}
    path = saved(tmp_path / "m.onnx", nodes, constants)
    same(models.from_onnx(path, IMAGES), answer(path, IMAGES))


def test_free_sides_are_those_of_the_images(tmp_path):
    path = saved(tmp_path / "m.onnx", CLASSIFIER, WEIGHTS, sides=(4, "h", "w"))
    assert models.image_shape(path) == (4, None, None)
    same(models.from_onnx(path, IMAGES), answer(path, IMAGES))


def test_layers_have_the_names_of_the_files_nodes_and_a_bias_added_is_the_layers(tmp_path):
    network = models.from_onnx(saved(tmp_path / "m.onnx", CLASSIFIER, WEIGHTS), IMAGES)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))}
    assert [type(layer).__name__ for layer in layers.values()] == ["Conv2d", "Linear"]
    assert list(layers) == ["Conv_0", "Add_4"] and layers["Add_4"].bias is not None


REFUSED = {
    "no such": ([("Conv", ["x", "w"], ["c"], {}), ("Cos", ["c"], ["y"], {})], {"w": W}, "no torch network", "Cos (Cos 1)"),
    "quantized": ([("QuantizeLinear", ["x", "s", "z"], ["q"], {}), ("DequantizeLinear", ["q", "s", "z"], ["y"], {})],
                  {"s": np.float32(1), "z": np.uint8(0)}, "quantized already", "DequantizeLinear, QuantizeLinear"),
    "the batch": ([("Transpose", ["x"], ["y"], {"perm": [1, 0, 2, 3]})], {}, "mixes the images", "Transpose (Transpose 0)"),
    "over the batch": ([("ReduceMean", ["x"], ["y"], {})], {}, "over the images", "ReduceMean (ReduceMean 0)"),
    "computed": ([("Relu", ["x"], ["w"], {}), ("Conv", ["x", "w"], ["y"], {})], {}, "computed from the image", "Conv (Conv 1)"),
    "another type": ([("Cast", ["x"], ["h"], {"to": 7}), ("Cast", ["h"], ["y"], {"to": 1})], {},
                     "another type", "Cast (Cast 0)"),
    "channels last": ([("Relu", ["x"], ["y"], {})], {}, "channels last", "[None, 9, 8, 3]"),
    "other images": ([("Relu", ["x"], ["y"], {})], {}, "another shape", "[4, 9, 8], not [3, 9, 8]"),
}  # fmt: skip
SIDES = {"channels last": (9, 8, 3), "other images": (3, 9, 8), "computed": (4, 4, 4)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_network_is_refused_by_its_name(tmp_path, name):
    nodes, constants, why, seen = REFUSED[name]
    sides = SIDES.get(name, (4, 9, 8))
    images = IMAGES[:, :, :4, :4] if name == "computed" else IMAGES
    path = saved(tmp_path / "m.onnx", nodes, constants, batch=4 if name == "computed" else "n", sides=sides)
    with pytest.raises(InputError, match=why) as refused:
        models.from_onnx(path, images)
    assert (refused.value.where, refused.value.seen) == (str(path), seen) and refused.value.fix


def test_a_network_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    from edgekd.models import onnx_ops

    monkeypatch.setitem(onnx_ops.OPS, "Relu", onnx_ops.OPS["Tanh"])
    with pytest.raises(InputError, match="does not compute what the file does"):
        models.from_onnx(saved(tmp_path / "m.onnx", [("Relu", ["x"], ["y"], {})]), IMAGES)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no model", b"\x08\x08"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError):
        models.from_onnx(path, IMAGES)
