"""ShuffleNets for 32 pixels: the stem is a 1x1 convolution that keeps the size. Sources: Zhang et al., "ShuffleNet", CVPR 2018,
table 1 (3 groups); Ma et al., "ShuffleNet V2", ECCV 2018, table 5 (1x)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import ShuffleNetV2, channel_shuffle

from edgekd.models.papers.layers import convolution, head, in_a_row

GROUPS = 3
V1 = ((240, 4), (480, 8), (960, 4))  # channels, blocks
STEM = 24


class Unit(nn.Module):
    """Grouped 1x1, shuffled channels, depthwise 3x3, grouped 1x1; with stride 2 the mean-pooled input stands beside the result.

    float32 [N,inputs,H,W] → [N,outputs,H/stride,W/stride].
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        made = outputs - inputs if stride == 2 else outputs
        narrow = made // 4
        self.groups = 1 if inputs == STEM else GROUPS  # so few channels are not grouped
        self.conv1, self.bn1 = convolution(inputs, narrow, 1, groups=self.groups), nn.BatchNorm2d(narrow)
        self.conv2, self.bn2 = convolution(narrow, narrow, 3, stride, groups=narrow), nn.BatchNorm2d(narrow)
        self.conv3, self.bn3 = convolution(narrow, made, 1, groups=GROUPS), nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        out = channel_shuffle(self.relu(self.bn1(self.conv1(x))), self.groups)
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        joined: Tensor = self.relu(x + out if self.pool is None else torch.cat([out, self.pool(x)], 1))
        return joined


def shufflenet_v1(classes: int) -> nn.Module:
    inputs, layers = STEM, {}
    for number, (outputs, blocks) in enumerate(V1, 1):
        layers[f"layer{number}"] = nn.Sequential(
            Unit(inputs, outputs, 2), *(Unit(outputs, outputs, 1) for _ in range(blocks - 1))
        )
        inputs = outputs
    parts = {"conv1": convolution(3, STEM, 1), "bn1": nn.BatchNorm2d(STEM), "relu": nn.ReLU(inplace=True)}
    return in_a_row(**parts, **layers, **head(inputs, classes))


def shufflenet_v2(classes: int) -> nn.Module:
    """torchvision's network of width 1 behind another stem."""
    network = ShuffleNetV2([4, 8, 4], [STEM, 116, 232, 464, 1024], num_classes=classes)
    network.conv1[0], network.maxpool = convolution(3, STEM, 1), nn.Identity()
    made: nn.Module = network
    return made
