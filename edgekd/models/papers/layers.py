"""What the papers' networks are made of: named parts in a row, convolution with batch norm, and their initial weights."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def in_a_row(**parts: nn.Module) -> nn.Sequential:
    """The parts one after another under their names."""
    return nn.Sequential(OrderedDict(parts))


def head(features: int, classes: int) -> dict[str, nn.Module]:
    """The mean over each channel's pixels, then the classifier: parts for the end of a row."""
    return {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(features, classes)}


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Padded so that a stride of 1 keeps the size; without a bias, which the batch norm after it has."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    return convolution(inputs, outputs, kernel, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def initialised(network: nn.Module, classifier_std: float | None = None) -> nn.Module:
    """Convolutions drawn as He et al. 2015 do, by fan-out; the classifier with this deviation and no bias, or as torch does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and classifier_std is not None:
            nn.init.normal_(module.weight, 0, classifier_std)
            nn.init.zeros_(module.bias)
    return network
