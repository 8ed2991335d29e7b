"""Every family of networks keeps its logits in 8 bits, in each kind of file."""

import families
import pytest
import torch
from healthy import gratings, healthy

from edgekd import quant
from edgekd.quant.candidates import sqnr_db

LEAST_DB = 20  # 24 to 48 were seen


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_keeps_its_logits_in_8_bits(name):
    images, labels = gratings(256, 32)
    net = healthy(families.make(name), images[:192], labels[:192])
    quantized = quant.quantize(net, [images[:48]], flavours=())
    with torch.no_grad():
        reference = net(images[192:])
        for flavour in ("ort", "ort-w7", "trt"):
            assert sqnr_db(reference, quantized.simulate(flavour)(images[192:])) >= LEAST_DB, flavour


@pytest.mark.parametrize("name", families.FAMILIES)
def test_what_stays_float_in_each_family_has_a_reason_and_is_no_layer(name):
    quantized = quant.quantize(families.make(name), [gratings(4, 32)[0]], flavours=())
    floats = {one["layer"]: one["reason"] for one in quantized.float_layers}
    kinds = {reason.split(" ")[0] for reason in floats.values()}
    assert kinds <= ({"LayerNorm", "layer_norm", "GELU", "only"} if name == "ConvNeXt" else {"only"})
    assert {"SqueezeNet": 1, "ConvNeXt": 12}.get(name, 0) == len(floats)
    weighted = [layer for layer in quantized.floating().modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(quantized.sites["layers"]) == len(weighted)
