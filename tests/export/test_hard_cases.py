"""Whole families and hard cases through the file and onnxruntime: what is executed, and that it is what was meant."""

import families
import hard_nets
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from healthy import gratings, healthy
from tensorrt_rules import broken_rules
from torch import nn

from edgekd import export, quant, targets
from edgekd.device.onnxrt import executed_layers
from edgekd.quant.candidates import sqnr_db
from edgekd.stages.signal import sqnr

TALL = (24, 16)


class Pools(nn.Module):
    """Every pool there is, on images that are not square; a channel of the stem is dead but for its bias."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = hard_nets.conv(3, 8, bias=False), nn.BatchNorm2d(8)
        self.halves = nn.ModuleList(
            [
                nn.AvgPool2d(3, 2, 1),
                nn.AvgPool2d(3, 2, 1, count_include_pad=False),
                nn.AvgPool2d(3, 2, ceil_mode=True),
                nn.AvgPool2d((4, 4), 2, (1, 1), ceil_mode=True),
                nn.MaxPool2d(3, 2, 1),
                nn.MaxPool2d(3, 2, ceil_mode=True),
                nn.AdaptiveAvgPool2d((12, 8)),
                nn.AdaptiveMaxPool2d((12, 8)),
            ]
        )
        self.mix, self.last, self.head = nn.Conv2d(64, 8, 1), hard_nets.conv(8, 8), nn.Linear(8 * 3 * 2, 5)
        self.over_the_edge = nn.AvgPool2d(3, 2, 1, ceil_mode=True)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.mix(torch.cat([pool(x) for pool in self.halves], 1)))
        x = self.last(self.over_the_edge(x)) + F.adaptive_max_pool2d(x, 1)
        return self.head(F.adaptive_avg_pool2d(x, (3, 2)).flatten(1))  # whose windows are of several sizes


class Tokens(nn.Module):
    """Matrix products of all kinds that stay float: over tokens, of two tensors of the image, attention, upsampling."""

    def __init__(self):
        super().__init__()
        self.stem, self.up = nn.Conv2d(3, 8, 4, 4), nn.ConvTranspose2d(8, 8, 2, 2)
        self.query, self.key, self.attention = nn.Linear(8, 8), nn.Linear(8, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.up(self.stem(x))).flatten(2).transpose(1, 2)
        weights = torch.softmax(torch.matmul(self.query(x), self.key(x).transpose(1, 2)), -1)
        x = torch.bmm(weights, x) + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """By name: the Quantized, its marked graph, the files, and images it has not seen. Made when first asked for."""
    made = {}

    def walk(name):
        if name not in made:
            own = {"Pools": Pools, "Tokens": Tokens}
            size, classes = (TALL, 5) if name in own else ((32, 32), 10)
            images, labels = gratings(128, size, classes)
            torch.manual_seed(0)
            net = own[name]() if name in own else families.make(name)
            if name == "Pools":
                net.norm.weight.data[2], net.norm.bias.data[2] = 0.0, 0.7
            quantized = quant.quantize(healthy(net, images[:96], labels[:96]), [images[:48]], flavours=())
            marked = export.float_export(quantized.for_export(), quantized.image_size)
            folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
            paths = export.write(marked, quantized.state_dict(), quantized.sites, folder, ("fp32", "ort", "trt"))
            made[name] = quantized, marked, paths, images[96:].numpy()
        return made[name]

    return walk


FAMILIES = ["EfficientNet", "RegNet Y", "DenseNet", "GoogLeNet", "ConvNeXt", "own"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_runs_without_a_float_layer_and_near_the_float_network(walked, name):
    _, _, paths, images = walked(name)
    executed = executed_layers(str(paths["ort"]), images[:1])
    assert targets.float_layers(executed) == [] and len(targets.int8_layers(executed)) > 5
    reference = export.run_onnx(paths["fp32"], images, optimised=True)
    assert sqnr(reference, export.run_onnx(paths["ort"], images, optimised=True)) >= 20


@pytest.mark.parametrize("name", [*FAMILIES, "Pools", "Tokens"])
def test_what_is_executed_is_what_was_simulated_and_what_is_written(walked, name):
    quantized, _, paths, images = walked(name)
    with torch.no_grad():
        simulated = quantized.simulate("ort")(torch.from_numpy(images))
    written = export.run_onnx(paths["ort"], images, optimised=False)
    assert sqnr_db(simulated, torch.from_numpy(written)) >= 35
    assert sqnr(written, export.run_onnx(paths["ort"], images, optimised=True)) >= 35


@pytest.mark.parametrize("name", [*FAMILIES, "Pools"])
def test_the_batch_is_free_and_each_image_gets_what_it_gets_alone(walked, name):
    _, _, paths, images = walked(name)
    for flavour in ("fp32", "ort"):
        assert onnx.load(paths[flavour]).graph.input[0].type.tensor_type.shape.dim[0].dim_param
    together = export.run_onnx(paths["ort"], images[:3], optimised=True)
    alone = [export.run_onnx(paths["ort"], one[None], optimised=True) for one in images[:3]]
    assert np.allclose(together, np.concatenate(alone), atol=0.02 * np.abs(together).max())


@pytest.mark.parametrize("name", [one for one in FAMILIES if one != "ConvNeXt"])  # whose sums are float, for its norms
def test_tensorrts_file_keeps_its_rules(walked, name):
    _, _, paths, _ = walked(name)
    assert broken_rules(onnx.load(paths["trt"]), newest_opset=18) == []


def test_of_all_pools_only_those_with_windows_of_several_sizes_stay_float(walked):
    quantized, _, _, _ = walked("Pools")
    assert {one["layer"] for one in quantized.float_layers} == {"adaptive_avg_pool2d", "add", "halves_3_pad", "over_the_edge_pad"}


def test_every_float_layer_of_an_int8_file_has_its_reason(walked):
    quantized, marked, paths, images = walked("Tokens")
    rows = {row["layer"]: row for row in export.layers(marked, quantized.sites, ["ort"])["ort"]}
    floats = {name for name, row in rows.items() if row["precision"] == "fp32"}
    assert {name.partition("/")[0] for name in floats} == {"up", "query", "key", "matmul", "bmm", "attention"}
    assert all("MatMul" in rows[name]["reason"] or "no integer kernel" in rows[name]["reason"] for name in floats)
    executed = targets.float_layers(executed_layers(str(paths["ort"]), images[:1]))
    assert len(executed) == len(floats) and all(layer["name"].startswith(tuple(floats)) for layer in executed)
