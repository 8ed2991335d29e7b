"""A sound file has no errors; each rule sees the one thing broken in a copy of it, and no other rule takes it for its own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from surgery import DEQUANTIZE, QUANTIZE, conv_output, node, put, put_in, take_out

from edgekd import export
from edgekd.device.onnxrt import executed_layers
from edgekd.export import lint
from edgekd.export.lint import Purpose
from edgekd.export.sessions import REFUSALS, session

ONNXRUNTIME, TENSORRT = Purpose("onnxruntime"), Purpose("tensorrt", "8.5")
HARD = ["Residual", "Inverted", "Shuffled", "PreActivated", "Odd"]
FLAVOURS = {"fp32": ONNXRUNTIME, "ort": ONNXRUNTIME, "ort-w7": ONNXRUNTIME, "trt": TENSORRT, "fp32-b1": TENSORRT,
            "fp16": TENSORRT, "trt-fp16": Purpose("tensorrt", "10.0")}  # fmt: skip


@pytest.fixture(scope="module")
def made(exported):
    """A copy of the file of a flavour of one of the hard nets."""
    files = {}

    def get(name, flavour):
        if (name, flavour) not in files:
            quantized, marked = exported(name)
            files[name, flavour] = export.flavour(marked, quantized.state_dict(), quantized.sites, flavour, "8.5")
        copy = onnx.ModelProto()
        copy.CopyFrom(files[name, flavour])
        return copy

    return get


def _rules(model, purpose):
    return {one.rule for one in lint.findings(model, [purpose])}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_own_files_have_no_errors_and_warnings_only_of_what_is_float_on_purpose(made, name, flavour):
    found = lint.findings(made(name, flavour), [FLAVOURS[flavour]])
    known = {"Odd": {"float-layer", "float-island", "pad-apart"}, "Shuffled": {"concat-scales"}}.get(name, set())
    assert [one for one in found if one.severity == "error" or one.rule not in known] == []
    assert lint.purposes_of(made(name, flavour))[0] == [Purpose(FLAVOURS[flavour].runtime)]


def _input(model):
    return model.graph.input[0].type.tensor_type.shape.dim


def _external(place):
    def change(model):
        tensor = next(one for one in model.graph.initializer if one.name == "a.weight")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    return change


def _add(model, place, op, inputs, output, **attributes):
    model.graph.node.insert(place, helper.make_node(op, inputs, [output], name=f"added {op}", **attributes))


def _constant(model, name, value):
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _between(model, tensor, op, *constants, **attributes):
    """An op behind a tensor: whoever read that reads the op's output."""
    place = next((number + 1 for number, one in enumerate(model.graph.node) if tensor in one.output), 0)
    for one in model.graph.node:
        one.input[:] = ["added" if name == tensor else name for name in one.input]
    _add(model, place, op, [tensor, *constants], "added", **attributes)


def _batch_norm(model):
    names = [_constant(model, f"norm.{number}", np.ones(8, "f4")) for number in range(4)]
    _between(model, conv_output(model, "a"), "BatchNormalization", *names)


def _computed(model):
    _add(model, 0, "Identity", ["relu.scale"], "computed")
    node(model, QUANTIZE, lambda one: one.name == "relu/quantize").input[1] = "computed"


def _int8_weight(model):
    pair = node(model, QUANTIZE, lambda one: one.name == "a.weight/quantize")
    model.graph.node.remove(pair)
    _constant(model, "a.weight.quantized", np.ones((8, 8, 3, 3), "i1"))


def _int32_bias(model):
    _constant(model, "integers", np.ones(8, "i4"))
    _add(model, 0, DEQUANTIZE, ["integers", "relu.scale", _constant(model, "no", np.array(0, "i4"))], "bias")
    node(model, "Conv", lambda one: one.name == "a").input[2] = "bias"


def _float_bias(model):
    node(model, "Conv", lambda one: one.name == "a").input[2] = _constant(model, "plain", np.ones(8, "f4"))


def _uint8_weight(model):
    put(model, "a.weight.quantized", np.ones((8, 8, 3, 3), "u1"))
    put(model, "a.weight.zero_point", np.zeros(8, "u1"))


def _mean(model):
    pool = node(model, "GlobalAveragePool")
    pool.op_type = "ReduceMean"
    pool.input.append(_constant(model, "axes", np.array([2, 3])))


def _per_tensor(model):
    put(model, "a.weight.scale", np.array(0.1, "f4"))
    put(model, "a.weight.zero_point", np.array(0, "i1"))


def _bare_identity_skip(model):
    node(model, "Add").input[1] = "relu"


def _float_head(model):
    """Its input is rounded for nobody else there: both of its pairs go."""
    take_out(model, "head.weight")
    take_out(model, "adaptive_avg_pool2d")


def _set(thing, **values):
    for name, value in values.items():
        setattr(thing, name, value)


def _named(model, name):
    return next(one for one in model.graph.node if one.name == name)


def _domain(op, domain):
    def change(model):
        node(model, op).domain = domain
        model.opset_import.add(domain=domain, version=1)

    return change


def _by_channel(model):
    put(model, "relu.scale", np.ones(8, "f4"))
    put(model, "relu.zero_point", np.zeros(8, "i1"))


def _rename(model, old, new):
    for one in model.graph.node:
        one.input[:] = [new if name == old else name for name in one.input]


def _without_dq(model):
    model.graph.node.remove(_named(model, "relu_again/dequantize"))
    _rename(model, "_symbolic_2", "relu_again.quantized")


def _without_q(model):
    model.graph.node.remove(_named(model, "relu_again/quantize"))
    _rename(model, "relu_again.quantized", "relu_1")


def _along_axis_1(model):
    for one in ("quantize", "dequantize"):
        _named(model, f"a.weight/{one}").attribute[0].i = 1


def _rounded_logits(model):
    put_in(model, "logits", "relu")
    model.graph.output[0].name = "again"


def _read_bare(model):
    """A second reader of a sum, which takes numbers."""
    _add(model, len(model.graph.node), "GlobalMaxPool", ["add_1"], "largest")
    model.graph.output.append(helper.make_tensor_value_info("largest", TensorProto.FLOAT, [1, 12, 1, 1]))


# rule: (net, flavour, what breaks it), and behind them other rules that this breaks as well
MUTATIONS = {
    "invalid": ("Residual", "trt", lambda m: node(m, "Relu").input.append("relu")),
    "opset": ("Residual", "trt", lambda m: _set(m.opset_import[0], version=18)),
    "foreign-op": ("Residual", "trt", _domain("Relu", "com.microsoft")),
    "machine-layout": ("Residual", "ort", _domain("Relu", "com.microsoft.nchwc")),
    "external-data": ("Residual", "trt", _external("weights.bin")),
    "external-outside": ("Residual", "trt", _external("../../etc/passwd"), "external-data"),
    "local-paths": ("Residual", "trt", lambda m: _set(node(m, "Relu"), doc_string="File /home/ada/net.py, line 3")),
    "free-size": ("Residual", "ort", lambda m: _set(_input(m)[2], dim_param="H")),
    "free-batch": ("Residual", "trt", lambda m: _set(_input(m)[0], dim_param="N")),
    "batch-of-many": ("Residual", "trt", lambda m: _set(_input(m)[0], dim_value=4)),
    "not-finite": ("Residual", "trt", lambda m: put(m, "a.bias", np.full(8, np.nan, "f4"))),
    "scale": ("Residual", "trt", lambda m: put(m, "relu.scale", np.array(0, "f4"))),
    "scale NaN": ("Residual", "trt", lambda m: put(m, "stem.weight.scale", np.full(8, np.nan, "f4"))),
    "scale negative": ("Residual", "trt", lambda m: put(m, "stem.weight.scale", np.array([1] * 7 + [-1], "f4"))),
    "scale ort": ("Residual", "ort", lambda m: put(m, "relu.scale", np.array(np.inf, "f4")), "bias-scale"),
    "computed-scale": ("Residual", "trt", _computed),
    "grid-length": ("Residual", "trt", lambda m: put(m, "stem.weight.zero_point", np.zeros(1, "i1"))),
    "activation-per-channel": ("Residual", "trt", _by_channel),
    "lone-q": ("Residual", "trt", _without_dq),
    "lone-q ort": ("Residual", "ort", _without_dq),
    "lone-dq": ("Residual", "trt", _without_q),
    "lone-dq ort": ("Residual", "ort", _without_q, "bare-output"),
    "two-grids": ("Residual", "trt", lambda m: _named(m, "relu/dequantize").input.__setitem__(1, "add_1.scale")),
    "rounded-twice": ("Shuffled", "trt", lambda m: put_in(m, node(m, "MaxPool").output[0], "input")),
    "no-zero-point": ("Residual", "trt", lambda m: _named(m, "relu/quantize").input.pop()),
    "uint8": ("Residual", "trt", lambda m: put(m, "relu.zero_point", np.array(0, "u1"))),
    "asymmetric": ("Residual", "trt", lambda m: put(m, "relu.zero_point", np.array(3, "i1"))),
    "signed-activation": ("Residual", "ort", lambda m: put(m, "relu.zero_point", np.array(0, "i1"))),
    "half-quantized": ("Residual", "trt", lambda m: take_out(m, "a.weight")),
    "half-quantized input": ("Residual", "trt", lambda m: take_out(m, "input")),
    "weight-per-tensor": ("Residual", "trt", _per_tensor),
    "weight-axis": ("Residual", "trt", _along_axis_1),
    "weight-axis of Gemm": ("Residual", "trt", lambda m: node(m, "Gemm").attribute.pop()),
    "int8-weight": ("Residual", "trt", _int8_weight),
    "rounded-bias": ("Residual", "trt", _int32_bias),
    "float-bias": ("Residual", "ort", _float_bias),
    "bias-scale": ("Residual", "ort", lambda m: put(m, "a.bias.scale", np.ones(8, "f4"))),
    "weight-type": ("Residual", "ort", _uint8_weight),
    "seven-bits": ("Residual", "ort-w7", lambda m: put(m, "a.weight.quantized", np.full((8, 8, 3, 3), 100, "i1"))),
    "bare-skip": ("Residual", "trt", _bare_identity_skip),
    "bare-skip of a convolution": ("Residual", "trt", lambda m: take_out(m, "skip")),
    "bare-skip ort": ("Residual", "ort", _bare_identity_skip, "bare-output"),
    "concat-scales": ("Shuffled", "trt", lambda m: put(m, "left.scale", np.array(0.5, "f4"))),
    "bare-concat-input": ("Shuffled", "trt", lambda m: take_out(m, "left"), "float-pool"),
    "batch-norm": ("Residual", "trt", _batch_norm),
    "rounded-logits": ("Residual", "trt", _rounded_logits),
    "float-layer": ("Residual", "trt", _float_head),
    "float-island": ("Residual", "ort", lambda m: _set(node(m, "GlobalAveragePool"), op_type="GlobalMaxPool")),
    "float-island trt": ("Residual", "trt", lambda m: _between(m, "relu_1", "Erf")),
    "activation-apart": ("Residual", "trt", lambda m: put_in(m, conv_output(m, "stem"), "relu")),
    "activation-apart of SiLU": ("Inverted", "trt", lambda m: put_in(m, conv_output(m, "out"), "mul")),
    "activation-apart of Add": ("Residual", "trt", lambda m: put_in(m, node(m, "Add").output[0], "relu")),
    "rounded-main-branch": ("Residual", "trt", lambda m: put_in(m, conv_output(m, "b"), "relu")),
    "rounded-gate": ("Inverted", "trt", lambda m: put_in(m, node(m, "Sigmoid").output[0], "input")),
    "float-pool": ("Residual", "trt", lambda m: take_out(m, "add_1")),
    "pad-apart": ("Residual", "trt", lambda m: _between(m, "relu_1", "Pad", _constant(m, "pads", np.zeros(8, "i8")))),
    "clip-ends": ("Inverted", "trt", lambda m: node(m, "Clip").input.__setitem__(1, "input")),
    "bare-output": ("Residual", "ort", lambda m: take_out(m, "c")),
    "clamp-apart": ("Residual", "ort", lambda m: put_in(m, conv_output(m, "a"), "b")),
    "hard-activation": ("Inverted", "ort", lambda m: _set(node(m, "Sigmoid"), op_type="HardSigmoid")),
    "silu-in-float": ("Inverted", "ort", lambda m: take_out(m, "silu_gate")),
    "reduce-mean": ("Residual", "ort", _mean),
    "bare-result": ("Residual", "ort", _read_bare),
}


@pytest.mark.parametrize("case", MUTATIONS)
def test_each_rule_sees_what_breaks_it_and_no_wrong_one_does(made, case):
    name, flavour, mutate, *others = MUTATIONS[case]
    model = made(name, flavour)
    sound = _rules(model, FLAVOURS[flavour])
    mutate(model)
    assert _rules(model, FLAVOURS[flavour]) - sound == {case.split(" ")[0], *others}


def test_every_rule_has_a_mutation():
    assert {case.split(" ")[0] for case in MUTATIONS} == set(lint.RULES)


FLOAT = (
    "bare-output", "bare-result", "bare-skip ort", "bias-scale", "clamp-apart", "float-island", "hard-activation", "reduce-mean",
    "scale ort", "signed-activation", "silu-in-float",
)  # fmt: skip


@pytest.mark.parametrize("case", FLOAT)
def test_what_the_rules_say_costs_float_ops_costs_them_in_onnxruntime(made, tmp_path, case):
    name, flavour, mutate, *_ = MUTATIONS[case]
    images = np.random.default_rng(0).standard_normal((1, 3, 16, 16), dtype=np.float32)

    def floating(model):
        onnx.save(model, str(tmp_path / "model.onnx"))
        return sum(layer["dtype"] == "float" for layer in executed_layers(str(tmp_path / "model.onnx"), images))

    model = made(name, flavour)
    before = floating(model)
    mutate(model)
    assert floating(model) > before


@pytest.mark.parametrize("case", ["lone-q ort", "lone-dq ort"])
def test_what_the_rules_say_is_refused_onnxruntime_refuses(made, tmp_path, case):
    name, flavour, mutate, *_ = MUTATIONS[case]
    model = made(name, flavour)
    mutate(model)
    with pytest.raises(REFUSALS):
        session(model.SerializeToString(), optimised=True)


@pytest.mark.parametrize("flavour", ["trt", "ort"])
def test_a_branch_that_is_float_on_purpose_misses_no_pair(made, flavour):
    model = made("Residual", flavour)
    place = next(number for number, one in enumerate(model.graph.node) if "relu" in one.output)
    _add(model, place + 1, "Erf", ["relu"], "float")
    node(model, "Add").input[1] = "float"
    assert "bare-skip" not in _rules(model, FLAVOURS[flavour])


def test_a_rounded_convolution_that_others_read_too_is_no_main_branch(made):
    model = made("Residual", "trt")
    put_in(model, conv_output(model, "b"), "relu")
    assert "rounded-main-branch" in _rules(model, TENSORRT)
    _add(model, len(model.graph.node), "GlobalMaxPool", ["again"], "largest")
    assert "rounded-main-branch" not in _rules(model, TENSORRT)
