"""Torch against onnxruntime, per flavour, on networks that have learned something (on random weights logits are chaotic)."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from tensorrt_rules import broken_rules

from edgekd import data, export, models, quant
from edgekd.stages.half import half_logits
from edgekd.stages.signal import parity

SIZE = 32
STEPS = {"mobilenet_v2": 70, "resnet18": 30}  # of training, batch 32


def _digits():
    """Images float32 [N,3,32,32] and labels, from the digits that come with the package."""
    archive = np.load(data.__path__[0] + "/digits.npz")
    images = torch.from_numpy(archive["images"].astype(np.float32))[:, None]
    images = F.interpolate(images / images.max(), size=(SIZE, SIZE), mode="bilinear")
    return ((images - 0.3) / 0.35).repeat(1, 3, 1, 1), torch.from_numpy(archive["labels"].astype(np.int64))


@pytest.fixture(scope="module", params=STEPS)
def walked(request, tmp_path_factory):
    """A briefly trained net, quantized and exported: (quantized, marked, paths, test images)."""
    torch.manual_seed(0)
    images, labels = _digits()
    net = models.create(request.param, classes=10, image_size=SIZE, width=0.25).train()
    optimiser = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, STEPS[request.param])
    for step in range(STEPS[request.param]):
        part = torch.arange(step * 32, (step + 1) * 32) % 1400
        optimiser.zero_grad()
        F.cross_entropy(net(images[part]), labels[part]).backward()
        optimiser.step()
        schedule.step()
    quantized = quant.quantize(net, images[:256].split(64), ("ort", "ort-w7", "trt"))
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    paths = export.write(
        marked, quantized.state_dict(), quantized.sites, tmp_path_factory.mktemp(request.param), export.FLAVOURS, "8.2"
    )
    return quantized, marked, paths, images[1400:1650]


def _logits(module, images):
    with torch.no_grad():
        return module(images).numpy()


def _parity(reference, other):
    return {one.name.partition(".")[2]: one.value for one in parity("parity", reference, other)}


def test_float_network_and_fp32_file_agree_to_rounding(walked):
    quantized, _, paths, images = walked
    reference = _logits(quantized.floating(), images)
    for optimised in (False, True):
        found = _parity(reference, export.run_onnx(paths["fp32"], images.numpy(), optimised=optimised))
        assert found["top1_agreement"] == 1.0 and found["sqnr_db"] > 90


@pytest.mark.parametrize("flavour", ["ort", "ort-w7", "trt"])
def test_simulation_and_un_optimised_file_agree(walked, flavour):
    quantized, _, paths, images = walked
    simulated = _logits(quantized.simulate(flavour), images)
    found = _parity(simulated, export.run_onnx(paths[flavour], images.numpy(), optimised=False))
    assert found["sqnr_db"] >= 30 and found["top1_agreement"] >= 0.98


@pytest.mark.parametrize("flavour", ["ort", "ort-w7"])
def test_optimising_changes_little(walked, flavour):
    _, _, paths, images = walked
    reference = export.run_onnx(paths[flavour], images.numpy(), optimised=False)
    found = _parity(reference, export.run_onnx(paths[flavour], images.numpy(), optimised=True))
    assert found["sqnr_db"] >= 25 and found["top1_agreement"] >= 0.97


def test_float16_rounds_a_little_and_with_int8_stays_as_near_to_float_as_int8_does(walked):
    quantized, _, paths, images = walked
    images = images[:100]
    reference = _logits(quantized.floating(), images)
    half_file, int8, int8_half_file = (  # computed in float32, as onnxruntime does; only the constants are halves
        _parity(reference, export.run_onnx(paths[flavour], images.numpy(), optimised=False))
        for flavour in ("fp16", "trt", "trt-fp16")
    )
    half, int8_half = (
        _parity(reference, half_logits(network, images.numpy())) for network in (quantized.floating(), quantized.simulate("trt"))
    )
    for one in (half_file, half):
        assert one["sqnr_db"] >= 50 and one["top1_agreement"] >= 0.98
    assert int8["sqnr_db"] >= 20
    for one in (int8_half_file, int8_half):
        assert one["sqnr_db"] >= int8["sqnr_db"] - 5


def test_tensorrts_files_keep_its_rules_in_the_oldest_opset(walked):
    _, _, paths, _ = walked
    assert broken_rules(onnx.load(paths["trt"]), newest_opset=13) == []
    assert broken_rules(onnx.load(paths["trt-fp16"]), newest_opset=19, float_type=onnx.TensorProto.FLOAT16) == []
    for flavour in ("fp32", "fp16"):
        assert onnx.load(paths[flavour]).opset_import[0].version == 13


def test_int8_stays_near_float(walked):
    quantized, _, paths, images = walked
    reference = _logits(quantized.floating(), images)
    found = _parity(reference, export.run_onnx(paths["ort"], images.numpy(), optimised=True))
    assert found["sqnr_db"] >= 20


def test_every_weighted_layer_is_int8(walked):
    quantized, marked, _, _ = walked
    assert quantized.float_layers == []
    for flavour in ("ort", "ort-w7"):
        assert {one["precision"] for one in export.layers(marked, quantized.sites, [flavour])[flavour]} == {"int8"}


def test_a_batch_of_one_gives_what_a_batch_of_many_gives(walked):
    _, _, paths, images = walked
    some = images[:5].numpy()
    together = export.run_onnx(paths["ort"], some, optimised=True)
    alone = np.concatenate([export.run_onnx(paths["ort"], one[None], optimised=True) for one in some])
    assert np.array_equal(together, alone)
