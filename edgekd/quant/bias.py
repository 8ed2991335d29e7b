"""Bias correction: take the mean error that rounding brings to each channel out of its bias, layer by layer, front to back.

Source: Nagel et al. 2019, section 4.2, with the mean errors measured on images instead of derived. Shape suffixes: C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@torch.inference_mode()
def mean_errors(floating: nn.Module, simulated: nn.Module, layers: Iterable[str], images: Tensor) -> dict[str, Tensor]:
    """By layer, float32 [C]: mean over images and places of (rounded - float) output, layers before it already corrected.

    floating, simulated: two networks with the same module names; images: float32 [B,3,H,W], all that count, in one batch.
    """
    means: dict[str, Tensor] = {}
    errors: dict[str, Tensor] = {}

    def note(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        means[name] = _mean(output)

    def correct(name: str, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        errors[name] = _mean(output) - means[name]
        return output - errors[name].view(-1, *[1] * (output.dim() - 2))

    with _watching(floating, layers, note):
        floating(images)
    with _watching(simulated, layers, correct):
        simulated(images)
    return errors


def corrected(state: dict[str, Tensor], errors: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """``state`` with each layer's bias lowered by its mean error, averaged over the flavours the one bias serves."""
    moved = dict(state)
    for layer in errors[0]:
        bias = f"{layer}.bias"
        moved[bias] = state[bias] - torch.stack([one[layer] for one in errors]).mean(0)
    return moved


def _mean(output: Tensor) -> Tensor:
    return output.mean([axis for axis in range(output.dim()) if axis != 1])


@contextmanager
def _watching(network: nn.Module, layers: Iterable[str], hook: Any) -> Iterator[None]:
    handles = [network.get_submodule(name).register_forward_hook(partial(hook, name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
