"""The families of image classifiers, each as small as it can be with all of its kinds of blocks, for ten classes.

Built of torchvision's and the registry's own blocks; not deep, so that untrained ones carry the image to their last layer.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.models.mnasnet import _stack
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.squeezenet import Fire

from edgekd.models.papers.layers import conv_bn_relu
from edgekd.models.papers.wrn import wrn


def _mobilenet_v1() -> nn.Module:
    layers = list(conv_bn_relu(3, 16, stride=2))
    for inputs, outputs, stride in ((16, 32, 1), (32, 64, 2), (64, 64, 1)):
        layers += [*conv_bn_relu(inputs, inputs, 3, stride, groups=inputs), *conv_bn_relu(inputs, outputs, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _mnasnet() -> nn.Module:
    stem = (nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    return nn.Sequential(*stem, _stack(16, 24, 3, 2, 3, 2, 0.1), _stack(24, 32, 5, 2, 6, 2, 0.1), Mean(), nn.Linear(32, 10))


class Mean(nn.Module):
    """As MNASNet's forward has it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean([2, 3])


def _mobilenet_v3() -> nn.Module:
    row = partial(InvertedResidualConfig, dilation=1, width_mult=1.0)
    blocks = [row(16, 3, 16, 16, True, "RE", 2), row(16, 3, 32, 24, False, "RE", 2), row(24, 5, 48, 24, True, "HS", 1)]
    return tv.MobileNetV3(blocks, 64, num_classes=10)


def _efficientnet() -> nn.Module:
    row = partial(MBConvConfig, width_mult=1.0, depth_mult=1.0)
    blocks = [row(1, 3, 1, 32, 16, 1), row(6, 5, 2, 16, 24, 2)]
    return tv.EfficientNet(blocks, 0.2, num_classes=10, last_channel=64)


def _efficientnet_v2() -> nn.Module:
    blocks = [FusedMBConvConfig(1, 3, 1, 16, 16, 1), FusedMBConvConfig(4, 3, 2, 16, 24, 1), MBConvConfig(4, 3, 2, 24, 32, 2)]
    return tv.EfficientNet(blocks, 0.2, num_classes=10, last_channel=64)


def _regnet(squeeze: float | None) -> nn.Module:
    sizes = BlockParams(depths=[1, 2], widths=[16, 32], group_widths=[8, 8], bottleneck_multipliers=[1.0] * 2, strides=[2, 2],
                        se_ratio=squeeze)  # fmt: skip
    return tv.RegNet(sizes, num_classes=10, stem_width=16)


def _convnext() -> nn.Module:
    return tv.ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 1)], num_classes=10)


def _squeezenet() -> nn.Module:
    net = tv.SqueezeNet("1_1", num_classes=10)
    net.features = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(16, 8, 16, 16),
        nn.MaxPool2d(3, 2, ceil_mode=True), Fire(32, 8, 16, 16),
    )  # fmt: skip
    net.classifier[1] = nn.Conv2d(32, 10, 1)
    return net


def _googlenet() -> nn.Module:
    """Its stem, two of its Inception blocks, the pool between, its head."""
    return nn.Sequential(
        BasicConv2d(3, 16, kernel_size=3, stride=2, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True),
        Inception(16, 8, 8, 16, 4, 8, 8), nn.MaxPool2d(3, 2, ceil_mode=True), Inception(40, 16, 8, 16, 4, 8, 8),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Dropout(0.2), nn.Linear(48, 10),
    )  # fmt: skip


def _vgg(norm: bool) -> nn.Module:
    features = tv.vgg.make_layers([16, "M", 32, "M", 32, "M"], batch_norm=norm)
    head = (nn.Linear(128, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), *head)


class OwnNet(nn.Module):
    """A user's own: functional calls, shared layers, two-sided branches, a learned scale, pools of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16)
        self.shared, self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 16).view(16, 1, 1))
        self.gate, self.mix, self.head = nn.Linear(16, 16), nn.Conv2d(32, 24, 1), nn.Linear(24 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + F.relu(self.shared(x))
        x = F.leaky_relu(self.shared(x), 0.1) * self.scale
        x = x * torch.sigmoid(self.gate(x.mean(dim=(-2, -1)))).unsqueeze(-1).unsqueeze(-1)
        x = torch.cat((F.max_pool2d(x, 2), F.avg_pool2d(F.silu(self.depth(x)), 2)), dim=1)
        x = F.dropout(F.relu6(self.mix(x)), 0.1, self.training)
        return self.head(F.adaptive_avg_pool2d(x, (2, 2)).flatten(1))


FAMILIES = {
    "ResNet": lambda: tv.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10),
    "ResNet bottleneck": lambda: tv.ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, groups=4, width_per_group=16),
    "WRN": lambda: wrn(10, 1, 10),
    "VGG": lambda: _vgg(False),
    "VGG bn": lambda: _vgg(True),
    "MobileNetV1": _mobilenet_v1,
    "MobileNetV2": lambda: tv.MobileNetV2(10, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]),
    "MobileNetV3": _mobilenet_v3,
    "ShuffleNetV2": lambda: tv.ShuffleNetV2([2, 2, 2], [16, 24, 32, 64, 128], num_classes=10),
    "EfficientNet": _efficientnet,
    "EfficientNetV2": _efficientnet_v2,
    "SqueezeNet": _squeezenet,
    "MNASNet": _mnasnet,
    "RegNet X": lambda: _regnet(None),
    "RegNet Y": lambda: _regnet(0.25),
    "GoogLeNet": _googlenet,
    "DenseNet": lambda: tv.DenseNet(8, (2, 2, 2), 16, num_classes=10),
    "ConvNeXt": _convnext,
    "own": OwnNet,
}


def make(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return FAMILIES[name]()
