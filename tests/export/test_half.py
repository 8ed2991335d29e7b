"""Float16 files: float32 at both ends, half precision between, and nothing that overflows or vanishes on the way."""

import copy

import hard_nets
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgekd import export, quant
from edgekd.core import InputError
from edgekd.export.half import LEAST_SCALE, beyond_half, in_half
from edgekd.stages.half import half_logits
from edgekd.stages.signal import sqnr

NAMES = [kind.__name__ for kind in hard_nets.NETS]


@pytest.fixture(scope="module")
def made(exported):
    def get(name, flavour):
        quantized, marked = exported(name)
        return export.flavour(marked, quantized.state_dict(), quantized.sites, flavour)

    return get


@pytest.mark.parametrize("flavour", ["fp16", "trt-fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_float_between_the_casts_is_half(made, name, flavour):
    model = made(name, flavour)
    types = {one.data_type for one in model.graph.initializer}
    assert TensorProto.FLOAT16 in types and TensorProto.FLOAT not in types
    first, last = model.graph.node[0], model.graph.node[-1]
    assert (first.op_type, list(first.input), last.op_type, list(last.output)) == ("Cast", ["input"], "Cast", ["logits"])
    assert [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)] == [TensorProto.FLOAT] * 2
    assert model.opset_import[0].version == (19 if flavour == "trt-fp16" else 13) and not model.graph.value_info


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_halves_compute_what_floats_do_and_with_int8_what_int8_does(exported, name, tmp_path):
    quantized, marked = exported(name)
    images = hard_nets.images(16, seed=6)
    paths = export.write(marked, quantized.state_dict(), quantized.sites, tmp_path, ["fp16", "trt-fp16"])
    run = {flavour: export.run_onnx(path, images.numpy(), optimised=False) for flavour, path in paths.items()}
    in_float32 = {"fp16": quantized.floating(), "trt-fp16": quantized.simulate("trt")}
    for flavour, least in (("fp16", 45), ("trt-fp16", 25)):
        expected = in_float32[flavour](images).numpy()
        assert sqnr(expected, run[flavour]) > least  # onnxruntime computes the file in float32
        assert sqnr(expected, half_logits(in_float32[flavour], images.numpy())) > least


@torch.no_grad()
def test_a_network_that_overflows_is_found_by_its_own_values_and_not_by_those_of_the_equalised_one():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    net[0].weight[2] *= 1e5
    net[2].weight[:, 2] *= 1e-5
    images = hard_nets.images(8)
    quantized = quant.quantize(net.eval(), [hard_nets.images(64)])
    assert quantized.sites["sites"][1]["high"] < 100  # equalised
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    fp32, trt = (export.flavour(marked, quantized.state_dict(), quantized.sites, kind) for kind in ("fp32", "trt"))
    widest = net[0](images).abs().max().item()
    assert beyond_half(fp32, images.numpy()) == f"{widest:.6g} in 0; float16 ends at 65504"
    assert beyond_half(trt, images.numpy()) is None
    assert not net.half()(images.half()).isfinite().all()  # what a device would make of it


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_float16_holds_an_ordinary_network(exported, name):
    quantized, marked = exported(name)
    for kind in ("fp32", "trt"):
        model = export.flavour(marked, quantized.state_dict(), quantized.sites, kind)
        assert beyond_half(model, hard_nets.images(2).numpy()) is None


def test_a_constant_that_is_no_number_or_too_large_is_beyond_float16(exported):
    quantized, marked = exported("Residual")
    for wrong, seen in ((1e5, "100000"), (float("nan"), "inf")):
        state = quantized.state_dict()
        state["head.weight"] = torch.full_like(state["head.weight"], wrong)
        found = beyond_half(export.flavour(marked, state, quantized.sites, "trt"), np.zeros((0, 3, 16, 16), np.float32))
        assert found == f"{seen} in head.weight; float16 ends at 65504"


def test_weights_beyond_float16_are_refused_by_name(exported):
    quantized, marked = exported("Residual")
    state = quantized.state_dict()
    state["b.bias"] = state["b.bias"] + 1e5
    with pytest.raises(InputError, match="constant overflows float16") as refused:
        export.flavour(marked, state, quantized.sites, "trt-fp16")
    assert refused.value.where == "b" and "1e+05" in refused.value.seen and refused.value.fix


def test_a_weight_that_is_no_number_is_refused_too(exported):
    quantized, marked = exported("Residual")
    state = quantized.state_dict()
    state["b.bias"] = state["b.bias"] * float("nan")
    with pytest.raises(InputError, match="constant overflows float16"):
        export.flavour(marked, state, quantized.sites, "trt-fp16")


def test_a_scale_too_small_for_float16_is_raised_and_never_zero(exported):
    quantized, marked = exported("Residual")
    state, sites = quantized.state_dict(), copy.deepcopy(quantized.sites)
    state["b.weight"] = state["b.weight"] * 1e-9  # a dead layer
    quiet = next(entry for entry in sites["sites"] if entry["name"] == "relu")
    quiet["trt_scale"] = 1e-8
    model = export.flavour(marked, state, sites, "trt-fp16")
    value = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert value["relu.scale"] == np.float16(LEAST_SCALE) and (value["b.weight.scale"] == np.float16(LEAST_SCALE)).all()
    assert value["a.weight.scale"].min() > LEAST_SCALE


def test_ops_that_name_their_type_and_inputs_that_are_float32_whatever_the_data_is_also_where_others_read_them():
    constants = {"scales": np.array([1, 1, 2, 2], np.float32), "size": np.array([1], np.int64),
                 "column": np.array([1, 1, 4, 1], np.int64)}  # fmt: skip
    nodes = [
        helper.make_node("Resize", ["input", "", "scales"], ["big"], name="resize"),
        helper.make_node("Cast", ["big"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("ConstantOfShape", ["size"], ["two"], value=numpy_helper.from_array(np.array([2], np.float32))),
        helper.make_node("Mul", ["cast", "two"], ["twice"]),
        helper.make_node("Reshape", ["scales", "column"], ["rows"]),
        helper.make_node("Mul", ["twice", "rows"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, size, size]) for name, size in (("input", 2), ("logits", 4))
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors), opset_imports=[helper.make_opsetid("", 18)]
    )
    half = in_half(model)
    types = {one.name: one.data_type for one in half.graph.initializer}
    assert types == {
        "scales": TensorProto.FLOAT, "size": TensorProto.INT64, "column": TensorProto.INT64, "scales.half": TensorProto.FLOAT16,
    }  # fmt: skip
    onnx.checker.check_model(half, full_check=True)
    by_kind = {node.op_type: node for node in list(half.graph.node)[1:-1]}
    assert by_kind["Cast"].attribute[0].i == TensorProto.FLOAT16
    assert by_kind["ConstantOfShape"].attribute[0].t.data_type == TensorProto.FLOAT16
