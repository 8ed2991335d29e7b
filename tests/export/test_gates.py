"""A network that gates its own activations is told from one that is gated by another branch."""

import pytest
from onnx import TensorProto, helper

from edgekd import export

MARK = [("Site", ["x"], ["m"])]
GRAPHS = {
    "SiLU": ([("Sigmoid", ["x"], ["g"]), ("Mul", ["x", "g"], ["y"])], True),
    "SiLU, the gate first": ([("Sigmoid", ["x"], ["g"]), ("Mul", ["g", "x"], ["y"])], True),
    "HardSwish, marked": ([*MARK, ("HardSigmoid", ["m"], ["g"]), ("Site", ["g"], ["n"]), ("Mul", ["m", "n"], ["y"])], True),
    "HardSwish as one": ([("HardSwish", ["x"], ["y"])], True),
    "squeeze and excite": ([("GlobalAveragePool", ["x"], ["p"]), ("Sigmoid", ["p"], ["g"]), ("Mul", ["x", "g"], ["y"])], False),
    "a product": ([("Relu", ["x"], ["r"]), ("Mul", ["x", "r"], ["y"])], False),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_own_gates_are_found(name):
    nodes, expected = GRAPHS[name]
    made = [helper.make_node(op, ins, outs, domain="edgekd" if op == "Site" else "") for op, ins, outs in nodes]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, 4, 8, 8]) for end in ("x", "y")]
    assert export.gated(helper.make_model(helper.make_graph(made, "g", ends[:1], ends[1:]))) is expected
