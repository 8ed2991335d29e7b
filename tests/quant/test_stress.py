"""Networks that plain 8 bits break, and what brings them back. Unequal channels: see test_equalise."""

import families
import torch
from healthy import gratings, healthy

from edgekd import quant
from edgekd.quant.candidates import sqnr_db
from edgekd.quant.observer import Observer


def _sqnr(net, calibration, images):
    quantized = quant.quantize(net, [calibration], flavours=())
    with torch.no_grad():
        return min(sqnr_db(net(images), quantized.simulate(flavour)(images)) for flavour in ("ort", "ort-w7", "trt"))


def test_an_image_far_too_bright_costs_a_gated_network_far_less_than_ranges_of_the_extremes_would(monkeypatch):
    images, labels = gratings(256, 32)
    net = healthy(families.make("EfficientNet"), images[:192], labels[:192])
    calibration = images[:48].clone()
    calibration[7] *= 15
    ours = _sqnr(net, calibration, images[192:])
    monkeypatch.setattr(Observer, "clipping", lambda self, *, steps_per_range, low=0.0, limit=None: max(-self.low, self.high))
    assert ours - _sqnr(net, calibration, images[192:]) > 8


def test_channels_that_are_dead_but_for_their_bias_keep_it():
    images, labels = gratings(256, 32)
    net = families.make("MobileNetV2")
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data[::5], norm.bias.data[::5] = 1e-12, 0.7
    net = healthy(net, images[:192], labels[:192])
    assert _sqnr(net, images[:48], images[192:]) > 20
