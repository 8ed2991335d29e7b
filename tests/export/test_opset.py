"""A graph is written in the oldest opset that has all its nodes, and refused where that is newer than TensorRT reads."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.core import InputError
from edgekd.export.opset import in_oldest_opset, newest_read_by

WEIGHTS = {"axes": np.array([2, 3], np.int64), "shape": np.array([0, 4], np.int64), "ones": np.ones(8, np.float32)}


def _model(*nodes, rank=4):
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4, 8, 8])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None] * rank)]
    constants = [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()]
    graph = helper.make_graph(list(nodes), "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _run(model):
    onnx.checker.check_model(model, full_check=True)
    image = np.random.default_rng(0).standard_normal((1, 4, 8, 8), dtype=np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": image})[0]


NODE = helper.make_node
REDUCED = NODE("ReduceMax", ["input", "axes"], ["logits"], name="reduce", keepdims=0, noop_with_empty_axes=0)
NORMED = NODE("LayerNormalization", ["input", "ones"], ["logits"], name="norm")
NODES = {
    13: [
        NODE("Relu", ["input"], ["r"]),
        NODE("GlobalAveragePool", ["r"], ["p"]),
        NODE("Reshape", ["p", "shape"], ["logits"], allowzero=0),
    ],
    14: [NODE("HardSwish", ["input"], ["logits"], name="swish")],
    15: [NODE("Shape", ["input"], ["s"], start=1), NODE("Cast", ["s"], ["logits"], to=1)],
    17: [NORMED],
    18: [NODE("Split", ["input"], ["logits", "rest"], num_outputs=2, axis=1)],
}


@pytest.mark.parametrize("opset", NODES)
def test_the_oldest_opset_that_has_all_nodes_and_the_same_result(opset):
    model = _model(*NODES[opset], rank={13: 2, 15: 1}.get(opset, 4))
    older = in_oldest_opset(model, None)
    assert [(one.domain, one.version) for one in older.opset_import] == [("", opset)] and older.ir_version == 8
    assert np.array_equal(_run(model), _run(older))
    assert model.opset_import[0].version == 18


def test_axes_of_a_reduction_are_an_attribute_in_opset_13():
    older = in_oldest_opset(_model(REDUCED, rank=2), "8.2")
    assert older.opset_import[0].version == 13 and list(older.graph.node[0].input) == ["input"]
    assert np.array_equal(_run(_model(REDUCED, rank=2)), _run(older))


@pytest.mark.parametrize(
    ("tensorrt", "reads"), [("8.2", False), ("8.4.1", False), ("8.5", True), ("8.6.2.3", True), ("10", True)]
)
def test_an_op_newer_than_the_oldest_tensorrt_reads_is_refused_by_name(tensorrt, reads):
    if reads:
        assert in_oldest_opset(_model(NORMED), tensorrt).opset_import[0].version == 17
        return
    with pytest.raises(InputError, match="opset") as refused:
        in_oldest_opset(_model(NORMED), tensorrt)
    assert refused.value.where == "norm" and "LayerNormalization needs opset 17" in refused.value.seen and refused.value.fix


def test_split_into_a_number_of_parts_needs_tensorrt_10():
    with pytest.raises(InputError, match="opset"):
        in_oldest_opset(_model(*NODES[18]), "8.6")
    assert in_oldest_opset(_model(*NODES[18]), "10.3").opset_import[0].version == 18


@pytest.mark.parametrize("tensorrt", ["7.1", "latest", "", "8.x"])
def test_no_such_tensorrt(tensorrt):
    with pytest.raises(InputError, match="no TensorRT"):
        newest_read_by(tensorrt)
