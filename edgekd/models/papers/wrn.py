"""Wide residual networks. Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, table 1; blocks as He et al.,
"Identity Mappings in Deep Residual Networks", ECCV 2016: batch norm and ReLU come before each convolution."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from edgekd.models.papers.layers import convolution, head, in_a_row, initialised


class PreActivation(nn.Module):
    """float32 [N,inputs,H,W] → [N,outputs,H/stride,W/stride]; the shortcut is a convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = convolution(inputs, outputs, stride=stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None if inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.bn1(x))
        residual: Tensor = self.conv2(self.relu(self.bn2(self.conv1(active))))
        return residual + (x if self.shortcut is None else self.shortcut(active))


def wrn(depth: int, factor: int, classes: int) -> nn.Module:
    """Three stages of (depth - 4) / 6 blocks with 16, 32 and 64 channels times ``factor``."""
    inputs, stages = 16, {}
    for number, planes in enumerate((16, 32, 64), 1):
        outputs, stride = planes * factor, 1 if number == 1 else 2
        blocks = [PreActivation(outputs, outputs, 1) for _ in range((depth - 4) // 6 - 1)]
        stages[f"block{number}"] = nn.Sequential(PreActivation(inputs, outputs, stride), *blocks)
        inputs = outputs
    last = {"bn1": nn.BatchNorm2d(inputs), "relu": nn.ReLU(inplace=True)}
    network = initialised(in_a_row(conv1=convolution(3, 16), **stages, **last, **head(inputs, classes)))
    nn.init.zeros_(cast(nn.Linear, network.get_submodule("fc")).bias)
    return network
