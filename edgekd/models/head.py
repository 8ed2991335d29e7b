"""The head: the tensors whose size is the number of classes, found by asking for one class more."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.core import InputError
from edgekd.models.registry import create, spec_of


def head_parameters(model: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that depend on the number of classes. Raises InputError: not made by ``create``, or none."""
    spec = spec_of(model)
    with torch.random.fork_rng():  # drawing the other network's weights must not move anyone's random numbers
        other = create(spec.name, classes=spec.classes + 1, image_size=spec.image_size, width=spec.width)
    sizes = {name: parameter.shape for name, parameter in other.named_parameters()}
    names = tuple(name for name, parameter in model.named_parameters() if sizes[name] != parameter.shape)
    if not names:
        raise InputError("no parameter depends on the number of classes", where=f"model {spec.name}")
    return names


def train_only_head(model: nn.Module) -> None:
    """Only the head's parameters want a gradient from here on."""
    head = head_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head)
