"""Bias correction: take the mean error that rounding brings to each channel out of its bias, layer by layer, front to back.

Source: Nagel et al. 2019, section 4.2, with the mean errors measured on images instead of derived. Shape suffixes: C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.quant.qat import use

_Hook = Callable[[str, nn.Module, Any, Tensor], Tensor | None]


@torch.no_grad()
def correct_biases(network: nn.Module, layers: Sequence[str], batches: Sequence[Tensor], flavours: Sequence[str]) -> None:
    """Lower each bias by its layer's mean error, averaged over the flavours that the one bias serves.

    network: from ``Quantized.trainable``, in eval mode; changed in place. layers: names of its quantized layers, those without a
    bias are passed over. batches: float32 [B,3,H,W], of like size: their errors are averaged.
    """
    biases = {name: bias for name in layers if (bias := network.get_submodule(name).bias) is not None}
    means: dict[str, Tensor] = {}
    errors: dict[str, list[Tensor]] = {name: [] for name in biases}

    def note(name: str, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        means[name] = _mean(output)

    def correct(name: str, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """What later layers see is corrected by this flavour's own error."""
        errors[name].append(_mean(output) - means[name])
        return output - errors[name][-1].view(-1, *[1] * (output.dim() - 2))

    for images in batches:
        for flavour, hook in (("fp32", note), *((one, correct) for one in flavours)):
            use(network, flavour)
            with _hooked(network, biases, hook):
                network(images)
    for name, bias in biases.items():
        bias -= torch.stack(errors[name]).mean(0)  # type: ignore[operator]


def _mean(output: Tensor) -> Tensor:
    return output.mean([axis for axis in range(output.dim()) if axis != 1])


@contextmanager
def _hooked(network: nn.Module, layers: Any, hook: _Hook) -> Iterator[None]:
    handles = [network.get_submodule(name).register_forward_hook(partial(hook, name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
