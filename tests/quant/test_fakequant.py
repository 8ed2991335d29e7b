import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from edgekd.quant import Grid, fake_quantize, weight_scale
from edgekd.quant.fakequant import fake_quantize_weight, round_bias

FLOATS = st.floats(-1e4, 1e4, width=32)


@pytest.fixture(scope="module")
def onnxruntimes_own_kernel():
    """QuantizeLinear then DequantizeLinear, un-optimised: x float32 [n], scale float32, zero point uint8."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [None]),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("z", TensorProto.UINT8, []),
    ]
    graph = helper.make_graph(nodes, "qdq", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x, s, z: session.run(None, {"x": x, "s": np.array(s, np.float32), "z": np.array(z, np.uint8)})[0]


@settings(max_examples=200, deadline=None)
@given(
    x=hnp.arrays(np.float32, st.integers(1, 64), elements=FLOATS),
    scale=st.floats(2**-20, 1024, width=32),
    zero_point=st.integers(0, 255),
    ties=st.booleans(),
)
def test_fake_quantize_equals_onnxruntime_to_the_bit(onnxruntimes_own_kernel, x, scale, zero_point, ties):
    if ties:  # values that lie exactly between two levels
        x = (np.rint(x) + np.float32(0.5)) * np.float32(scale)
    ours = fake_quantize(torch.from_numpy(x), torch.tensor(scale), -zero_point, 255 - zero_point).numpy()
    theirs = onnxruntimes_own_kernel(x, scale, zero_point)
    assert np.array_equal(ours, theirs)  # -0.0 and 0.0 are equal


def test_half_goes_to_the_even_level():
    halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert fake_quantize(halves, torch.tensor(1.0), -128, 127).tolist() == [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0]


def test_gradient_is_one_inside_and_zero_where_it_saturates():
    x = torch.tensor([-1.0, 0.0, 2.55, 2.56, 9.0], requires_grad=True)
    fake_quantize(x, torch.tensor(0.01), 0, 255).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]


@given(low=st.floats(-50, 0), high=st.floats(2**-10, 50), signed=st.booleans())
def test_a_grid_holds_zero_and_never_reaches_past_its_range(low, high, signed):
    grid = Grid.of(low, high, signed)
    assert grid.scale == np.float32(grid.scale) and 0 <= grid.zero_point <= 255
    zero = fake_quantize(torch.zeros(1), torch.tensor(grid.scale), *grid.levels)
    assert zero.item() == 0.0
    if signed:
        assert grid.zero_point == 128 and 127 * grid.scale <= max(-low, high) * (1 + 1e-9)
    else:
        assert 255 * grid.scale <= high - low


def test_relu6_fits_under_its_clip():
    assert Grid.of(0.0, 6.0, signed=False).scale * 255 <= 6.0


def test_signed_grid_is_the_int8_grid_of_zero_point_zero():
    grid = Grid.of(-3.0, 2.0, signed=True)
    x = torch.linspace(-4, 4, 1001)
    assert torch.equal(
        fake_quantize(x, torch.tensor(grid.scale), *grid.levels), fake_quantize(x, torch.tensor(grid.scale), -128, 127)
    )


@pytest.mark.parametrize("levels", [127, 64])
def test_weights_reach_the_largest_level_and_no_further(levels):
    weight = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    scale_C = weight_scale(weight, None, 0.02, levels)
    steps = fake_quantize_weight(weight, scale_C, levels) / scale_C.reshape(-1, 1, 1, 1)
    assert torch.equal(steps.flatten(1).abs().amax(1).round(), torch.full((8,), float(levels)))


def test_a_dead_channel_with_a_bias_keeps_its_bias():
    weight, bias = torch.zeros(2, 3, 1, 1), torch.tensor([0.7, 0.0])
    weight[0, 0] = 1e-12
    scale_C = weight_scale(weight, bias, 0.02, 127)
    assert torch.all(bias.abs() / (0.02 * scale_C) <= 2**30 * (1 + 1e-6))
    assert torch.allclose(round_bias(bias, scale_C, 0.02), bias)
    assert torch.all(scale_C > 0)
