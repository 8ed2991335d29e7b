"""The folded network with its rounding in place: a plain module that any loop can train, and that switches between files.

The ranges of the activations stay as they were calibrated; the scale of a weight follows the largest |w| of its channel, without
a gradient. Rounding passes the gradient on where a value did not saturate (straight through). Biases are rounded in eval mode
only: measured, rounding them in training changes no accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from edgekd.core import InputError
from edgekd.quant.fakequant import FAMILY, WEIGHT_LEVELS, fake_quantize_weight, round_bias, weight_scale
from edgekd.quant.sites import Site


class _RoundedConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, *_rounded(self))
        return output


class _RoundedLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, *_rounded(self))


def _rounded(layer: Any) -> tuple[Tensor, Tensor | None]:
    """The layer's weight and bias as the file of ``layer.flavour`` has them; parameters and their names stay as they were."""
    weight, bias, flavour = layer.weight, layer.bias, layer.flavour
    if flavour == "fp32":
        return weight, bias
    int32_bias = bias if FAMILY[flavour] == "ort" else None
    scale_C = weight_scale(weight, int32_bias, layer.input_scale, WEIGHT_LEVELS[flavour])
    if int32_bias is not None and not layer.training:
        bias = round_bias(int32_bias, scale_C, layer.input_scale)
    return fake_quantize_weight(weight, scale_C, WEIGHT_LEVELS[flavour]), bias


class _Trainable(fx.GraphModule):
    """In train mode only the rounded layers are: what was not folded keeps the statistics that its weights were trained with."""

    def train(self, mode: bool = True) -> _Trainable:
        super().train(False)
        for module in self.modules():
            if module is self or isinstance(module, (_RoundedConv2d, _RoundedLinear)):
                module.training = mode
        return self


def trainable(graph: fx.GraphModule, input_scales: Mapping[str, float]) -> fx.GraphModule:
    """``graph`` (a copy the caller gives away) with its quantized layers to train; the others stay as the float network has them.

    input_scales: by quantized layer, of its uint8 grid. ``use`` says which file's rounding it does; until then it is the float
    network.
    """
    graph.requires_grad_(False)
    for name, scale in input_scales.items():
        layer: Any = graph.get_submodule(name)
        kind = _RoundedConv2d if isinstance(layer, nn.Conv2d) else _RoundedLinear
        layer.__class__ = kind  # keeps parameters, options and names; a new layer would have to repeat them all
        layer.input_scale = scale
        layer.requires_grad_(True)
    network = _Trainable(graph, graph.graph)
    use(network, "fp32")
    return network.train()


def use(network: nn.Module, flavour: str) -> None:
    """Let ``network`` (from ``Quantized.trainable``) round where and as finely as the file of ``flavour`` does; fp32: not at all.

    Raises InputError: no such flavour.
    """
    if flavour not in WEIGHT_LEVELS and flavour != "fp32":
        raise InputError("no such flavour", seen=flavour, fix=f"one of fp32, {', '.join(WEIGHT_LEVELS)}")
    for module in network.modules():
        if isinstance(module, Site):
            module.mode = FAMILY.get(flavour, "pass")
        elif isinstance(module, (_RoundedConv2d, _RoundedLinear)):
            module.flavour = flavour  # type: ignore[assignment]
