"""VGG for small pictures: three poolings leave 4x4 of 32 pixels, and one linear layer follows. Source: Simonyan and Zisserman,
"Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, table 1, with batch norm."""

from __future__ import annotations

from torch import nn

from edgekd.models.papers.layers import head, in_a_row, initialised

CHANNELS = (64, 128, 256, 512, 512)
POOLED = (0, 1, 2)  # the stages that a pooling follows


def vgg(convolutions: int, classes: int) -> nn.Module:
    """Five stages of that many 3x3 convolutions: one makes the papers' VGG-8, two their VGG-13."""
    parts: dict[str, nn.Module] = {}
    for number, (inputs, outputs) in enumerate(zip((3, *CHANNELS[:-1]), CHANNELS, strict=True)):
        parts[f"block{number}"] = nn.Sequential(*_stage(inputs, outputs, convolutions))
        if number in POOLED:
            parts[f"pool{number}"] = nn.MaxPool2d(2)
    return initialised(in_a_row(**parts, **head(CHANNELS[-1], classes)), classifier_std=0.01)


def _stage(inputs: int, outputs: int, convolutions: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (inputs, *[outputs] * (convolutions - 1)):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return layers
