"""Quantization-aware training: the folded network with its rounding in place, as a plain module that any loop can train.

The ranges of the activations stay as they were calibrated; the scale of a weight follows the largest |w| of its channel, without
a gradient. Rounding passes the gradient on where a value did not saturate (straight through). Biases are not rounded: measured,
that changes no accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from edgekd.core import InputError
from edgekd.quant.fakequant import FAMILY, WEIGHT_LEVELS, fake_quantize_weight, weight_scale
from edgekd.quant.sites import Site


class _RoundedConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, _rounded(self), self.bias)
        return output


class _RoundedLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, _rounded(self), self.bias)


def _rounded(layer: Any) -> Tensor:
    """The layer's weight on the grid of ``layer.levels``; parameters and their names stay as they were."""
    scale_C = weight_scale(layer.weight, layer.bias if layer.int32_bias else None, layer.input_scale, layer.levels)
    return fake_quantize_weight(layer.weight, scale_C, layer.levels)


def trainable(graph: fx.GraphModule, input_scales: Mapping[str, float]) -> fx.GraphModule:
    """``graph`` (a copy the caller gives away) with every parameter trained. input_scales: by quantized layer, of its uint8 grid.

    ``use`` says which file's rounding it does.
    """
    for name, scale in input_scales.items():
        layer: Any = graph.get_submodule(name)
        kind = _RoundedConv2d if isinstance(layer, nn.Conv2d) else _RoundedLinear
        layer.__class__ = kind  # keeps parameters, options and names; a new layer would have to repeat them all
        layer.input_scale = scale
    return graph.train().requires_grad_(True)


def use(network: nn.Module, flavour: str) -> None:
    """Let ``network`` (from ``Quantized.trainable``) round where and as finely as the file of ``flavour`` does.

    Raises InputError: no such int8 flavour.
    """
    if flavour not in WEIGHT_LEVELS:
        raise InputError("no such int8 flavour", seen=flavour, fix=f"one of {', '.join(WEIGHT_LEVELS)}")
    for module in network.modules():
        if isinstance(module, Site):
            module.mode = FAMILY[flavour]
        elif isinstance(module, (_RoundedConv2d, _RoundedLinear)):
            layer: Any = module
            layer.levels, layer.int32_bias = WEIGHT_LEVELS[flavour], FAMILY[flavour] == "ort"
