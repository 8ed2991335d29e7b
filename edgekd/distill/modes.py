"""Train mode and eval mode, module by module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


def train_mode(network: nn.Module) -> None:
    """Train mode, except for modules all of whose parameters are frozen: their BatchNorm statistics belong to their weights."""
    network.train()
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(weight.requires_grad for weight in own):
            module.eval()


@contextmanager
def answering(*networks: nn.Module) -> Iterator[None]:
    """While inside, the networks are in eval mode; afterwards each module is in the mode it had."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
