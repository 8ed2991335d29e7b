"""The sketch has the student's structure and none of its training; its values are as large as a trained net's."""

import hard_nets
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgekd.recipe import loads
from edgekd.stages import Context, sketch

FLAVOURS = ("fp32", "ort", "ort-w7", "trt", "fp16", "trt-fp16", "fp32-b1")
RECIPE = """\
edgekd: 1
name: sketch
data: {source: digits, image_size: 16}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2, weights: ./not_there.safetensors}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime}
  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: int8+fp16}
"""


def test_it_is_the_student_untrained_for_all_targets_and_opens_no_weights(tmp_path, monkeypatch):
    asked = []

    def new_network(recipe, role, classes, *, to_be_trained):
        asked.append((recipe.student.weights, role, classes))
        return hard_nets.make(hard_nets.Residual)

    monkeypatch.setattr(sketch, "new_network", new_network)
    outcome = sketch.run(Context(loads(RECIPE, "sketch.yaml", tmp_path), tmp_path))
    assert asked == [("none", "student", 10)]
    assert {one.kind for one in outcome.artifacts} == {*FLAVOURS, "example"}  # whether the jetson is connected or not
    ops = [node.op_type for node in onnx.load(tmp_path / "student.ort.onnx").graph.node]
    assert (ops.count("Conv"), ops.count("Gemm"), ops.count("QuantizeLinear") >= 6) == (5, 1, True)
    example = np.load(tmp_path / "example.npy")
    assert (example.shape, example.dtype, np.ptp(example) > 1) == ((1, 3, 16, 16), np.float32, True)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e3])
def test_settled_values_neither_vanish_nor_explode_however_the_net_was_initialised(gain):
    torch.manual_seed(0)
    layers = [layer for _ in range(20) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU6())]
    network = nn.Sequential(*layers)
    for layer in layers[::3]:
        nn.init.normal_(layer.weight, std=gain)
    images = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    values, seen = torch.from_numpy(images), []
    assert not sketch.settled(network, images).training
    with torch.no_grad():
        for layer in layers:
            values = layer(values)
            if isinstance(layer, nn.ReLU6):
                seen.append(values.std().item())
    assert 0.01 < min(seen) <= max(seen) < 3
