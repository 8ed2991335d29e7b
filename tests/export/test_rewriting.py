"""Other weights in a marked graph: each layer gets its own, also a bias that the exporter left out."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.core import InputError
from edgekd.export.rewriting import with_weights


def test_a_layer_that_was_exported_without_its_bias_of_zeros_gets_the_bias_it_has_now():
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 2, 2))
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], "stem")], "g", [image], [logits], [weight])
    state = {"stem.weight": np.full((1, 1, 1, 1), 2, np.float32), "stem.bias": np.array([3], np.float32)}
    changed = with_weights(helper.make_model(graph), state, ())
    assert list(changed.graph.node[0].input) == ["x", "stem.weight", "stem.bias"]
    left = {one.name: numpy_helper.to_array(one).item() for one in changed.graph.initializer}
    assert left == {"stem.weight": 2.0, "stem.bias": 3.0}


def test_the_bounds_of_a_clip_that_became_a_relu_are_gone():
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))
    bounds = [numpy_helper.from_array(np.float32(value), name) for name, value in (("least", 0), ("most", 6))]
    node = helper.make_node("Clip", ["x", "least", "most"], ["y"], "relu6")
    graph = helper.make_graph([node], "g", [image], [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))], bounds)
    changed = with_weights(helper.make_model(graph), {}, ["relu6"])
    assert (changed.graph.node[0].op_type, list(changed.graph.node[0].input), len(changed.graph.initializer)) == (
        "Relu",
        ["x"],
        0,
    )
    with pytest.raises(InputError, match="do not belong together") as refused:  # else it would clip equalised channels
        with_weights(helper.make_model(graph), {}, ["relu6", "features.1.relu6"])
    assert refused.value.seen == "Clips features.1.relu6 not found"
