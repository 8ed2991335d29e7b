"""The files with a float16 side: they round a little, and TensorRT's rules hold for them too."""

import numpy as np
import onnx
import pytest
import torch
from tensorrt_rules import broken_rules

from edgekd import export
from edgekd.stages.half import half_logits
from edgekd.stages.signal import sqnr


@pytest.fixture(scope="module")
def halved(exported):
    return exported("MobileNetV2", export.FLAVOURS, "8.2")


def test_float16_rounds_a_little_and_with_int8_stays_as_near_to_float_as_int8_does(halved):
    images = halved.images[:32]
    with torch.no_grad():
        reference = halved.quantized.floating()(torch.from_numpy(images)).numpy()
    files = {one: export.run_onnx(halved.paths[one], images, optimised=False) for one in ("fp16", "trt", "trt-fp16")}
    half = half_logits(halved.quantized.floating(), images)
    int8_half = half_logits(halved.quantized.simulate("trt"), images)
    for found in (files["fp16"], half):  # the file is computed in float32, as onnxruntime does; only its constants are halves
        assert sqnr(reference, found) >= 50 and np.mean(reference.argmax(1) == found.argmax(1)) >= 0.96
    int8 = sqnr(reference, files["trt"])
    assert int8 >= 18
    for found in (files["trt-fp16"], int8_half):
        assert sqnr(reference, found) >= int8 - 5


def test_tensorrts_files_keep_its_rules_in_the_oldest_opset(halved):
    paths = halved.paths
    assert broken_rules(onnx.load(paths["trt"]), newest_opset=13) == []
    assert broken_rules(onnx.load(paths["trt-fp16"]), newest_opset=19, float_type=onnx.TensorProto.FLOAT16) == []
    for flavour in ("fp32", "fp16"):
        assert onnx.load(paths[flavour]).opset_import[0].version == 13


def test_every_weighted_layer_is_int8(halved):
    assert halved.quantized.float_layers == []
    for flavour in ("ort", "ort-w7"):
        assert {one["precision"] for one in export.layers(halved.marked, halved.quantized.sites, [flavour])[flavour]} == {"int8"}
