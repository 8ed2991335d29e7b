"""Checkpoints of mdistiller under our names: the teachers behind most published CIFAR-100 tables (ckpt_epoch_240.pth).

Source of their names: github.com/megvii-research/mdistiller (MIT licence), mdistiller/models. What no rule changes is named
alike there and here; a checkpoint with our own names passes through as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Rules = tuple[tuple[str, str], ...]  # regular expression, replacement; applied in turn

_LINEAR = ("^linear\\.", "fc.")
_MAIN = (0, 1, 3, 4, 5, 6)  # places of convolutions and norms in torchvision's branch2, with the activations between them


def _placed(block: str, branch: str, names: tuple[str, ...], places: tuple[int, ...]) -> Rules:
    """Rules for the named parts of the blocks whose number matches ``block``: into this branch, at these places."""
    return tuple(
        (rf"^layer(\d)\.({block})\.{name}\.", rf"layer\1.\2.{branch}.{place}.") for name, place in zip(names, places, strict=True)
    )


RULES: Mapping[str, Rules] = {  # by the beginning of the model's name
    "cifar_resnet50": ((r"\.shortcut\.", ".downsample."), _LINEAR),
    "cifar_wrn": ((r"^(block\d)\.layer\.", r"\1."), (r"\.convShortcut\.", ".shortcut.")),
    "cifar_vgg": ((r"^classifier\.", "fc."),),
    "cifar_mobilenet_v2": ((r"^classifier\.0\.", "fc."),),
    "cifar_shufflenet_v1": (_LINEAR,),
    "cifar_shufflenet_v2": (
        *((r"^conv1\.(?!\d)", "conv1.0."), (r"^bn1\.", "conv1.1."), (r"^conv2\.", "conv5.0."), (r"^bn2\.", "conv5.1.")),
        *_placed("0", "branch1", ("conv1", "bn1", "conv2", "bn2"), (0, 1, 2, 3)),
        *_placed("0", "branch2", ("conv3", "bn3", "conv4", "bn4", "conv5", "bn5"), _MAIN),
        *_placed(r"[1-9]\d*", "branch2", ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3"), _MAIN),
        *((rf"^layer{number}\.", f"stage{number + 1}.") for number in (1, 2, 3)),
        _LINEAR,
    ),
    "mobilenet_v1": ((r"^model\.(\d)", r"features.\1"),),
}


def renamed(model: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint of ``model`` under our names."""
    rules = next((rules for start, rules in RULES.items() if model.startswith(start)), ())
    return {_renamed(name, rules): tensor for name, tensor in state.items()}


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
