"""Which models there are and which come in widths, known without torch, so that a recipe is checked on a light install."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import entry_points

from edgekd.core import InputError

GROUP = "edgekd.models"  # entry point group: name → a builder, see registry.Builder

# torchvision's image classifiers, by its own names; a test compares them with torchvision's list
TORCHVISION = (
    "alexnet", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny", "densenet121", "densenet161",
    "densenet169", "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
    "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_l", "efficientnet_v2_m",
    "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_16gf", "regnet_x_1_6gf", "regnet_x_32gf",
    "regnet_x_3_2gf", "regnet_x_400mf", "regnet_x_800mf", "regnet_x_8gf", "regnet_y_128gf", "regnet_y_16gf",
    "regnet_y_1_6gf", "regnet_y_32gf", "regnet_y_3_2gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_8gf", "resnet101",
    "resnet152", "resnet18", "resnet34", "resnet50", "resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "squeezenet1_0",
    "squeezenet1_1", "swin_b", "swin_s", "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t", "vgg11", "vgg11_bn", "vgg13",
    "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32",
    "wide_resnet101_2", "wide_resnet50_2",
)  # fmt: skip

# the distillation papers' networks for 32 pixels, and MobileNetV1; a test compares them with their builders
PAPERS = (
    "cifar_mobilenet_v2", "cifar_resnet110", "cifar_resnet20", "cifar_resnet32", "cifar_resnet32x4", "cifar_resnet50",
    "cifar_resnet56", "cifar_resnet8x4", "cifar_shufflenet_v1", "cifar_shufflenet_v2", "cifar_vgg13", "cifar_vgg8",
    "cifar_wrn_16_2", "cifar_wrn_40_1", "cifar_wrn_40_2", "mobilenet_v1",
)  # fmt: skip

_WIDTHS = ("mnasnet", "mobilenet_v2", "mobilenet_v3", "resnet", "shufflenet_v2")
SHUFFLENET_WIDTHS = {0.5: "0_5", 1.0: "1_0", 1.5: "1_5", 2.0: "2_0"}  # of all channels: in torchvision's name for it
_FAMILIES = (
    "alexnet", "cifar", "convnext", "densenet", "efficientnet", "googlenet", "inception", "maxvit", "mnasnet", "mobilenet",
    "regnet", "resnet", "resnext", "shufflenet", "squeezenet", "swin", "vgg", "vit", "wide_resnet",
)  # fmt: skip


@cache
def known_models() -> tuple[str, ...]:
    """Every model name a recipe may use: torchvision's, the papers' and those of installed packages ("edgekd.models"), sorted."""
    return tuple(sorted({*TORCHVISION, *PAPERS, *(entry.name for entry in entry_points(group=GROUP))}))


def check_model(name: str, width: float, *, where: str) -> None:
    """Raise InputError: an unknown model (with the nearest name), one that takes no width (with those that do), or not this one
    (with the widths it has)."""
    if name not in known_models():
        near = difflib.get_close_matches(name, known_models(), n=3, cutoff=0.5)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError("unknown model", where=where, seen=name, fix=f"{guess}families: {', '.join(_FAMILIES)}")
    if not 0 < width <= 8:
        raise InputError(
            "a width must lie above 0 and be at most 8", where=where, seen=str(width), fix="1.0 is the published width"
        )
    if width != 1 and name in (*TORCHVISION, *PAPERS) and not name.startswith(_WIDTHS):
        raise InputError(
            f"{name} comes in one width", where=where, seen=f"width {width}", fix=f"these take a width: {', '.join(_WIDTHS)}"
        )
    shufflenet = name in TORCHVISION and name.startswith("shufflenet_v2")
    if shufflenet and shufflenet_total(name, width) not in SHUFFLENET_WIDTHS:
        fix = "shufflenet_v2_x1_0 takes width " + ", ".join(f"{one:g}" for one in SHUFFLENET_WIDTHS)
        raise InputError("ShuffleNetV2 has no such width", where=where, seen=f"width {width:g} of {name}", fix=fix)


def shufflenet_total(name: str, width: float) -> float:
    """The published width that a ShuffleNetV2 of this name has with a width: shufflenet_v2_x2_0 with 0.5 is the one of 1.0."""
    return float(name.removeprefix("shufflenet_v2_x").replace("_", ".")) * width
