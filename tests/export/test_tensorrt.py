"""TensorRT's files keep its rules, on every hard block; and the checker that says so sees each rule broken."""

import copy

import hard_nets
import numpy as np
import onnx
import onnxruntime
import pytest
import surgery
import torch
from onnx import TensorProto, helper, numpy_helper
from tensorrt_rules import DEQUANTIZE, QUANTIZE, broken_rules
from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.googlenet import Inception
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.shufflenetv2 import ShuffleNetV2

from edgekd import export, quant

HARD = ["Residual", "Inverted", "Shuffled", "PreActivated"]  # nothing in them is float


@pytest.fixture(scope="module")
def made(exported):
    """The file of a flavour ("trt") of one of the hard nets, a copy to change."""

    def get(name, flavour="trt", tensorrt="8.2"):
        quantized, marked = exported(name)
        return export.flavour(marked, quantized.state_dict(), quantized.sites, flavour, tensorrt)

    return get


@pytest.mark.parametrize("name", HARD)
def test_hard_blocks_keep_the_rules(made, name):
    assert broken_rules(made(name), newest_opset=13) == []
    assert broken_rules(made(name, "trt-fp16"), newest_opset=19, float_type=TensorProto.FLOAT16) == []


def _inceptions():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    inceptions = [Inception(8, 4, 4, 8, 2, 4, 4), Inception(20, 8, 4, 8, 2, 4, 4)]
    return nn.Sequential(stem, *inceptions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5))


def _small(kind):
    """torchvision's own blocks, two or three of them."""
    v3 = [(16, 3, 16, 16, True, "RE", 2, 1), (16, 3, 24, 16, False, "RE", 1, 1), (16, 5, 32, 24, True, "HS", 2, 1)]
    return {
        "shufflenet": lambda: ShuffleNetV2([2, 1, 1], [8, 8, 16, 32, 32], num_classes=5),
        "mobilenet_v3": lambda: MobileNetV3([InvertedResidualConfig(*one, 1.0) for one in v3], 32, num_classes=5),
        "efficientnet": lambda: EfficientNet(
            [MBConvConfig(1, 3, 1, 16, 8, 1), MBConvConfig(4, 3, 2, 8, 16, 2)], dropout=0.0, last_channel=32, num_classes=5
        ),
        "googlenet": _inceptions,
    }[kind]()


@pytest.mark.parametrize("kind", ["shufflenet", "mobilenet_v3", "efficientnet", "googlenet"])
def test_torchvisions_blocks_keep_the_rules(kind):
    torch.manual_seed(0)
    quantized = quant.quantize(hard_nets.spread_norms(_small(kind)), [hard_nets.images(8, 32)], ())
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    assert quantized.float_layers == []
    assert broken_rules(export.flavour(marked, quantized.state_dict(), quantized.sites, "trt", "8.2"), newest_opset=13) == []


def test_a_bare_downsample_is_the_only_rounded_branch_and_joined_tensors_have_one_scale(made):
    model = made("Residual")
    by_name = {node.name: node for node in model.graph.node}
    maker = {node.output[0]: node for node in model.graph.node}
    both = next(node for node in model.graph.node if node.op_type == "Add" and "c" in {maker[one].name for one in node.input})
    assert sorted(maker[one].name for one in both.input) == ["c", "skip/dequantize"]
    assert by_name["skip"].op_type == "Conv"
    shuffled = made("Shuffled")
    scales = {one.name: numpy_helper.to_array(one) for one in shuffled.graph.initializer}
    assert scales["left.scale"] == scales["relu_2.scale"] != scales["relu.scale"]


MUTATIONS = {
    "opset": ("Residual", lambda m: setattr(m.opset_import[0], "version", 18)),
    "IR version": ("Residual", lambda m: setattr(m, "ir_version", 10)),
    "not float32": ("Residual", lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT16)),
    "static batch": ("Residual", lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", "batch")),
    "logits are quantized": (
        "Residual",
        lambda m: (surgery.put_in(m, "logits", "relu"), setattr(m.graph.output[0], "name", "again")),
    ),
    "no zero point": ("Residual", lambda m: surgery.node(m, QUANTIZE).input.pop()),
    "not int8 zero": ("Residual", lambda m: surgery.put(m, "relu.zero_point", np.array(3, np.int8))),
    "zero point is not int8": ("Residual", lambda m: surgery.put(m, "relu.zero_point", np.array(0, np.uint8))),
    "not positive": ("Residual", lambda m: surgery.put(m, "relu.scale", np.array(0, np.float32))),
    "and finite": ("Residual", lambda m: surgery.put(m, "stem.weight.scale", np.full(8, np.nan, np.float32))),
    "its length not": ("Residual", lambda m: surgery.put(m, "stem.weight.zero_point", np.zeros(1, np.int8))),
    "scale is not one": (
        "Residual",
        lambda m: (surgery.put(m, "relu.scale", np.ones(8, np.float32)), surgery.put(m, "relu.zero_point", np.zeros(8, np.int8))),
    ),
    "quantize: alone": (
        "Residual",
        lambda m: m.graph.node.remove(surgery.node(m, DEQUANTIZE, lambda n: n.name.startswith("relu/"))),
    ),
    "dequantize: alone": (
        "Residual",
        lambda m: m.graph.node.remove(surgery.node(m, QUANTIZE, lambda n: n.name.startswith("relu/"))),
    ),
    "two grids": ("Residual", lambda m: surgery.node(m, DEQUANTIZE).input.__setitem__(1, "relu.scale")),
    "rounds again": ("Shuffled", lambda m: surgery.put_in(m, surgery.node(m, "Concat").output[0], "left")),
    "rounds a gate": ("Inverted", lambda m: surgery.put_in(m, surgery.node(m, "Sigmoid").output[0], "input")),
    "no weight": (
        "Residual",
        lambda m: surgery.node(m, "Conv", lambda n: n.name == "a").input.__setitem__(2, "stem.weight.dequantized"),
    ),
    "between Conv and its": ("Residual", lambda m: surgery.put_in(m, surgery.conv_output(m, "stem"), "relu")),
    "between Conv and": (
        "Inverted",
        lambda m: surgery.put_in(m, surgery.conv_output(m, "out"), "relu"),
    ),  # SiLU: sigmoid and product
    "between Add and its": ("Residual", lambda m: surgery.put_in(m, surgery.node(m, "Add").output[0], "relu")),
    "input is not quantized": ("Residual", lambda m: surgery.take_out(m, "input")),
    "weight is not quantized": ("Residual", lambda m: surgery.take_out(m, "stem.weight")),
    "along axis 0": (
        "Residual",
        lambda m: [setattr(n.attribute[0], "i", 1) for n in m.graph.node if n.name.startswith("a.weight/")],
    ),
    "channels are not on": ("Residual", lambda m: surgery.node(m, "Gemm").attribute.pop()),
    "bias is no float": ("Residual", lambda m: surgery.node(m, "Conv").input.__setitem__(2, "input")),
    "main branch is quantized": ("Residual", lambda m: surgery.put_in(m, surgery.conv_output(m, "b"), "relu")),
    "skip branch is not quantized": ("Residual", lambda m: surgery.take_out(m, "skip")),
    "pools what is not": ("Residual", lambda m: surgery.take_out(m, "add_1")),
    "different scales": ("Shuffled", lambda m: surgery.put(m, "left.scale", np.array(0.5, np.float32))),
    "or none": ("Shuffled", lambda m: surgery.take_out(m, "left")),
    "batch norm": ("Residual", lambda m: setattr(surgery.node(m, "Relu"), "op_type", "BatchNormalization")),
    "its ends are no constants": ("Inverted", lambda m: surgery.node(m, "Clip").input.__setitem__(1, "input")),
}


@pytest.mark.parametrize("rule", MUTATIONS)
def test_the_checker_sees_a_broken_rule(made, rule):
    name, mutate = MUTATIONS[rule]
    model = made(name)
    mutate(model)
    assert any(rule in line for line in broken_rules(model, newest_opset=13))


class _OneLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.head = hard_nets.conv(3, 16), nn.ReLU(), nn.Linear(16 * 64, 5)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).flatten(1))


@torch.no_grad()
def test_a_layer_fed_equal_integers_gives_the_simulations_integers_but_for_a_few_last_bits():
    torch.manual_seed(0)
    quantized = quant.quantize(_OneLayer().eval(), [hard_nets.images(64, 8)], ())
    model = export.float_export(quantized.for_export(), quantized.image_size)
    model = export.flavour(model, quantized.state_dict(), quantized.sites, "trt", "8.2")
    model.graph.output.append(helper.make_tensor_value_info("relu.quantized", TensorProto.INT8, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    images = hard_nets.images(64, 8, seed=4)
    simulated = quantized.simulate("trt")
    steps = []
    scale = next(entry["trt_scale"] for entry in quantized.sites["sites"] if entry["name"] == "relu")
    simulated.site_relu.register_forward_hook(lambda module, inputs, output: steps.append((output / scale).round()))
    simulated(images)
    found = np.concatenate([session.run(["relu.quantized"], {"input": one[None].numpy()})[0] for one in images])
    apart = np.abs(found.astype(int) - steps[0].numpy().astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3 and found.max() > 100


def test_weights_that_quantization_changed_are_in_the_int8_files_only(exported):
    quantized, marked = exported("Residual")
    state = {name: value + 1 for name, value in quantized.state_dict().items()}
    plain, other = (
        {kind: export.flavour(marked, one, quantized.sites, kind).SerializeToString() for kind in export.FLAVOURS}
        for one in (quantized.state_dict(), state)
    )
    assert {kind for kind in export.FLAVOURS if plain[kind] == other[kind]} == {"fp32", "fp32-b1", "fp16"}


class _Twins(nn.Module):
    """Two layers of equal weights, which the exporter stores once; a Clip."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.clip, self.head = hard_nets.conv(3, 3), hard_nets.conv(3, 3), nn.ReLU6(), nn.Linear(3, 2)
        self.b.load_state_dict(self.a.state_dict())

    def forward(self, x):
        return self.head(self.clip(self.b(torch.relu(self.a(x)))).mean((2, 3)))


def test_equal_layers_may_part_and_a_clip_that_equalisation_took_away_is_a_relu_in_int8_only():
    torch.manual_seed(0)
    quantized = quant.quantize(_Twins().eval(), [hard_nets.images(16)], ())
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    state, sites = quantized.state_dict(), copy.deepcopy(quantized.sites)
    state["b.weight"] = state["b.weight"] * 2
    sites["unclipped"] = ["clip"]
    model = export.flavour(marked, state, sites, "trt")
    value = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert np.array_equal(2 * value["a.weight"], value["b.weight"])
    assert not any(node.op_type == "Clip" for node in model.graph.node)
    assert any(node.op_type == "Clip" for node in export.flavour(marked, state, sites, "fp32").graph.node)
    onnx.checker.check_model(model, full_check=True)
