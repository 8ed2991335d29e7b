"""Cross-layer equalisation: move scale between neighbouring layers until their channels are equally wide; no data, no training.

For layer -> ReLU -> layer, dividing channel c before the ReLU by r[c] > 0 and multiplying what reads it by r[c] changes nothing
in float. r[c] = sqrt(max|w1[c]| / max|w2[c]|) makes both equally wide, so one activation grid fits all channels.
Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1.
Shape suffixes: C channels between the two layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edgekd.quant import ops
from edgekd.quant.fold import module_of

MOST_SWEEPS = 50  # over all chains; nets of 50 layers need 10 to 20
CONVERGED = 1e-3  # a sweep that scales no channel by more than this part is the last one
DEAD = 1e-6  # of the layer's largest weight; scaling such a channel up would make its bias the widest thing in the tensor

_SCALES_THROUGH = (nn.ReLU, ops.GlobalAvgPool, nn.AvgPool2d, nn.MaxPool2d)  # f(r x) = r f(x) for r > 0, channel by channel
_Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class Chain:
    """Two layers with nothing between them but what scales through; clips: names of the Clip(0, n) among that."""

    first: _Layer
    second: _Layer
    clips: tuple[str, ...]


def chains(graph: fx.GraphModule) -> list[Chain]:
    """Every pair of layers that can be equalised, front to back. graph: from ``trace.prepare``."""
    found = (_chain_from(graph, node) for node in graph.graph.nodes)
    return [chain for chain in found if chain is not None]


@torch.no_grad()
def equalise(graph: fx.GraphModule) -> tuple[str, ...]:
    """Equalise ``graph`` in place; its Clips between scaled layers become ReLUs, and their names are returned.

    Where there was no Clip the float function stays as it was, up to rounding.
    """
    pairs = chains(graph)
    layers = {layer for pair in pairs for layer in (pair.first, pair.second)}
    dtypes = {layer: layer.weight.dtype for layer in layers}
    for layer in layers:
        layer.double()  # many small factors: round once, at the end
    for _ in range(MOST_SWEEPS):
        if max((_balance(pair.first, pair.second) for pair in pairs), default=0.0) < CONVERGED:
            break
    for layer, dtype in dtypes.items():
        layer.to(dtype)
    clips = tuple(name for pair in pairs for name in pair.clips)
    unclip(graph, clips)
    return clips


def unclip(graph: fx.GraphModule, clips: Iterable[str]) -> None:
    """Make the Clips of these names ReLUs."""
    for name in clips:
        graph.set_submodule(name, nn.ReLU(), strict=True)


def _chain_from(graph: fx.GraphModule, node: fx.Node) -> Chain | None:
    first = _layer(graph, node)
    clips: list[str] = []
    if first is None:
        return None
    while len(node.users) == 1:
        (node,) = node.users
        module, second = module_of(graph, node), _layer(graph, node)
        if second is not None:
            return Chain(first, second, tuple(clips))
        if isinstance(module, nn.Hardtanh) and module.min_val == 0:
            clips.append(str(node.target))
        elif not isinstance(module, _SCALES_THROUGH) and not _keeps_channels(node, module):
            return None
    return None


def _layer(graph: fx.GraphModule, node: fx.Node) -> _Layer | None:
    """A convolution, or a linear layer on [N,C]: over more axes its channels are the last."""
    module = module_of(graph, node)
    fits = isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and len(node.meta["shape"]) == 2)
    return module if isinstance(module, _Layer) and fits else None


def _keeps_channels(node: fx.Node, module: nn.Module | None) -> bool:
    """A reshape [N,C,1,1] -> [N,C]."""
    before, after = node.args[0].meta["shape"] if node.args else (), node.meta["shape"]  # type: ignore[union-attr]
    return isinstance(module, ops.Reshape) and tuple(before) == (*after, 1, 1)


def _balance(first: _Layer, second: _Layer) -> float:
    """Scale the channels between the two once; returns the largest |log r[c]|."""
    reads = _by_input_channel(second)
    out_C, in_C = first.weight.abs().flatten(1).amax(1), reads.abs().amax((1, 3)).flatten()
    live_C = (out_C > DEAD * out_C.max()) & (in_C > DEAD * in_C.max())
    r_C = torch.where(live_C, (out_C / in_C.where(live_C, out_C)).sqrt(), 1.0)
    first.weight /= r_C.view(-1, *[1] * (first.weight.dim() - 1))
    if first.bias is not None:
        first.bias /= r_C
    reads *= r_C.view(reads.shape[0], 1, reads.shape[2], 1)
    return math.log(max(float(r_C.max()), 1 / float(r_C.min())))


def _by_input_channel(layer: _Layer) -> Tensor:
    """View [groups, outputs of a group, inputs of a group, taps] of the weight: input channel c is (c // inputs, c % inputs)."""
    weight, groups = layer.weight.data, getattr(layer, "groups", 1)
    return weight.view(groups, weight.shape[0] // groups, weight.shape[1], -1)
