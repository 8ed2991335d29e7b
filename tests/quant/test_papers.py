"""The papers' networks are rounded whole: no layer stays float, nor does a batch norm that follows a sum."""

import functools

import pytest
import torch

from edgekd import export, models, quant
from edgekd.stages.sketch import settled

FAMILIES = ["cifar_resnet8x4", "cifar_wrn_16_2", "cifar_vgg8", "cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2"]


@functools.cache
def quantized(name: str) -> quant.Quantized:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    return quant.quantize(settled(models.create(name, classes=10, image_size=32), images.numpy()), [images], flavours=())


@pytest.mark.parametrize("name", FAMILIES)
def test_no_layer_stays_float(name):
    assert quantized(name).float_layers == []


def test_a_batch_norm_after_a_sum_is_an_int8_layer_of_its_own_in_the_file():
    """WRN-16-2: 16 convolutions, 6 norms that no convolution can take in, and the classifier."""
    network = quantized("cifar_wrn_16_2")
    marked = export.float_export(network.for_export(), network.image_size)
    layers = export.layers(marked, network.sites, ["ort"])["ort"]
    assert {layer["precision"] for layer in layers} == {"int8"}
    assert len(layers) == 16 + 6 + 1
