"""MobileNets of the papers. Sources: Howard et al., "MobileNets", 2017, table 1 (V1); Sandler et al., "MobileNetV2", CVPR 2018,
table 2, in the form of the CRD paper for 32 pixels: half the channels, ReLU, first and second stage without a stride."""

from __future__ import annotations

from torch import Tensor, nn

from edgekd.models.papers.layers import conv_bn_relu, convolution, head, in_a_row, initialised

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))  # channels, stride
V2 = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
V2_STEM, V2_FEATURES = 16, 1280


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, narrow by 1x1; float32 [N,inputs,H,W] → [N,outputs,H/stride,W/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv = nn.Sequential(
            *conv_bn_relu(inputs, wide, 1),
            *conv_bn_relu(wide, wide, 3, stride, groups=wide),
            convolution(wide, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.conv(x)
        return x + changed if self.adds else changed


def mobilenet_v1(classes: int) -> nn.Module:
    """For ImageNet: thirteen pairs of a depthwise and a pointwise convolution."""
    layers, inputs = [nn.Sequential(*conv_bn_relu(3, 32, stride=2))], 32
    for outputs, stride in V1:
        layers.append(nn.Sequential(*conv_bn_relu(inputs, inputs, 3, stride, groups=inputs), *conv_bn_relu(inputs, outputs, 1)))
        inputs = outputs
    return in_a_row(features=nn.Sequential(*layers), **head(inputs, classes))


def mobilenet_v2_half(classes: int) -> nn.Module:
    """``mobile_half`` of the papers, whose stem halves the 32 pixels."""
    stages, inputs = [], V2_STEM
    for expansion, outputs, blocks, stride in V2:
        first = InvertedResidual(inputs, outputs, stride, expansion)
        stages.append(nn.Sequential(first, *(InvertedResidual(outputs, outputs, 1, expansion) for _ in range(blocks - 1))))
        inputs = outputs
    parts = {
        "conv1": nn.Sequential(*conv_bn_relu(3, V2_STEM, stride=2)),
        "blocks": nn.Sequential(*stages),
        "conv2": nn.Sequential(*conv_bn_relu(inputs, V2_FEATURES, 1)),
    }
    return initialised(in_a_row(**parts, **head(V2_FEATURES, classes)), classifier_std=0.01)
