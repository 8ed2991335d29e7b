"""ResNets for small pictures: a 3x3 stem that keeps the size, then stages that halve it.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, §4.2 (three stages of 6n+2 layers) and, for
``resnet50``, table 1 with that stem. "x4": Tian et al., "Contrastive Representation Distillation", ICLR 2020, appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from edgekd.models.papers.layers import convolution, head, in_a_row, initialised


def resnet(depth: int, classes: int, *, factor: int = 1) -> nn.Module:
    """Three stages of (depth - 2) / 6 basic blocks. factor: 4 has stages of 64, 128, 256 channels after a stem of 32 ("x4")."""
    blocks = (depth - 2) // 6
    stages = [(planes * factor, blocks) for planes in (16, 32, 64)]
    return _resnet(BasicBlock, 16 if factor == 1 else 32, stages, classes)


def resnet50(classes: int) -> nn.Module:
    """Four stages of bottleneck blocks, as for ImageNet."""
    return _resnet(Bottleneck, 64, [(64, 3), (128, 4), (256, 6), (512, 3)], classes)


def _resnet(block: Any, stem: int, stages: Sequence[tuple[int, int]], classes: int) -> nn.Module:
    layers, channels = {}, stem
    for number, (planes, blocks) in enumerate(stages, 1):
        layers[f"layer{number}"] = _stage(block, channels, planes, blocks, stride=1 if number == 1 else 2)
        channels = planes * block.expansion
    parts = {"conv1": convolution(3, stem), "bn1": nn.BatchNorm2d(stem), "relu": nn.ReLU(inplace=True)}
    return initialised(in_a_row(**parts, **layers, **head(channels, classes)))


def _stage(block: Any, inputs: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    return nn.Sequential(block(inputs, planes, stride, downsample), *(block(outputs, planes) for _ in range(blocks - 1)))
