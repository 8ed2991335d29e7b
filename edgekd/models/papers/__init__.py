"""The networks of the distillation papers that torchvision does not have: for CIFAR's 32 pixels, and MobileNetV1.

Their channel plans are those behind the published tables, whose teachers come as checkpoints (see models.mdistiller).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from edgekd.models.papers.mobilenet import mobilenet_v1, mobilenet_v2_half
from edgekd.models.papers.resnet import resnet, resnet50
from edgekd.models.papers.shufflenet import shufflenet_v1, shufflenet_v2
from edgekd.models.papers.vgg import vgg
from edgekd.models.papers.wrn import wrn

BUILDERS: dict[str, Callable[[int], nn.Module]] = {  # by name: number of classes → the network, initialised as published
    "cifar_mobilenet_v2": mobilenet_v2_half,
    "cifar_resnet110": partial(resnet, 110),
    "cifar_resnet20": partial(resnet, 20),
    "cifar_resnet32": partial(resnet, 32),
    "cifar_resnet32x4": partial(resnet, 32, factor=4),
    "cifar_resnet50": resnet50,
    "cifar_resnet56": partial(resnet, 56),
    "cifar_resnet8x4": partial(resnet, 8, factor=4),
    "cifar_shufflenet_v1": shufflenet_v1,
    "cifar_shufflenet_v2": shufflenet_v2,
    "cifar_vgg13": partial(vgg, 2),
    "cifar_vgg8": partial(vgg, 1),
    "cifar_wrn_16_2": partial(wrn, 16, 2),
    "cifar_wrn_40_1": partial(wrn, 40, 1),
    "cifar_wrn_40_2": partial(wrn, 40, 2),
    "mobilenet_v1": mobilenet_v1,
}
