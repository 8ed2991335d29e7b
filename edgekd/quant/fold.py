"""Fold what is constant at inference into the convolution before it: batch norm, and the line x/6 + 1/2 of a hard sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from edgekd.core import InputError

FOLD_TOLERANCE = 1e-7  # of the largest logit, in float64


def _per_channel(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch norm with running statistics as factor and offset per channel, float64 [C] each."""
    if norm.running_mean is None or norm.running_var is None:
        raise InputError(
            "a batch norm without running statistics cannot be folded",
            seen="track_running_stats=False",
            fix="train it with track_running_stats=True, or use another norm",
        )
    factor_C = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor_C = factor_C * norm.weight.double()
    offset_C = -norm.running_mean.double() * factor_C
    if norm.bias is not None:
        offset_C = offset_C + norm.bias.double()
    return factor_C.detach(), offset_C.detach()


def affine(layer: nn.Conv2d | nn.Linear, factor_C: Tensor, offset_C: Tensor) -> None:
    """Make ``layer`` compute factor * layer(x) + offset; computed in float64, stored in the layer's dtype."""
    shape = (-1, *[1] * (layer.weight.dim() - 1))
    weight = layer.weight.detach()
    bias = torch.zeros_like(offset_C) if layer.bias is None else layer.bias.detach().double()
    layer.weight = nn.Parameter((weight.double() * factor_C.reshape(shape)).to(weight.dtype))
    layer.bias = nn.Parameter((bias * factor_C + offset_C).to(weight.dtype))


def as_depthwise(factor_C: Tensor, offset_C: Tensor) -> nn.Conv2d:
    """factor * x + offset a channel, where no layer can take it in, as a 1x1 depthwise convolution: int8 runtimes have that."""
    channels = len(factor_C)
    conv = nn.Conv2d(channels, channels, 1, groups=channels)
    conv.weight, conv.bias = nn.Parameter(factor_C.reshape(-1, 1, 1, 1)), nn.Parameter(offset_C)
    return conv.eval()


def fold_batch_norms(graph: fx.GraphModule) -> None:
    """Fold each BatchNorm1d/2d into the Conv2d/Linear that alone feeds it; make the other BatchNorm2d depthwise convolutions."""
    for node in list(graph.graph.nodes):
        norm = module_of(graph, node)
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            continue
        before = node.args[0]
        layer = module_of(graph, before)
        fits = isinstance(layer, nn.Conv2d) if isinstance(norm, nn.BatchNorm2d) else isinstance(layer, nn.Linear)
        if fits and len(before.users) == 1 and len(before.meta["shape"]) == (4 if isinstance(norm, nn.BatchNorm2d) else 2):
            affine(layer, *_per_channel(norm))  # type: ignore[arg-type]
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
        elif isinstance(norm, nn.BatchNorm2d):
            graph.set_submodule(str(node.target), as_depthwise(*_per_channel(norm)))


def fold_hard_sigmoids(graph: fx.GraphModule) -> None:
    """conv -> HardSigmoid becomes conv' -> Clip(0, 1) with w' = w/6, b' = b/6 + 1/2: uint8 saturation is that clip, for free."""
    for node in list(graph.graph.nodes):
        if not isinstance(module_of(graph, node), nn.Hardsigmoid):
            continue
        before = node.args[0]
        layer = module_of(graph, before)
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and len(before.users) == 1:
            channels = layer.weight.shape[0]
            affine(layer, torch.full((channels,), 1 / 6, dtype=torch.float64), torch.full((channels,), 0.5, dtype=torch.float64))
            graph.set_submodule(str(node.target), nn.Hardtanh(0.0, 1.0))


def require_finite(logits: Tensor) -> None:
    """Raises InputError: they are not."""
    if not bool(torch.isfinite(logits).all()):
        raise InputError("the float network's logits are not finite", where="quantize", fix="train it to a finite loss first")


def check_fold(before: Tensor, after: Tensor) -> None:
    """Logits before and after the fold, both in float64. Raises InputError: apart by more than FOLD_TOLERANCE of the largest."""
    apart = float((before - after).abs().max() / before.abs().max().clamp_min(1e-6))
    if not apart <= FOLD_TOLERANCE:
        raise InputError(
            "folding batch norm changed the network",
            where="quantize",
            seen=f"logits apart by {apart:.1e} of the largest, at most {FOLD_TOLERANCE:.0e} is rounding in float64",
            fix="look for a layer that forward() uses in two places; please report the network",
        )


def module_of(graph: fx.GraphModule, node: object) -> nn.Module | None:
    """The module a call_module node calls; None for anything else."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return graph.get_submodule(str(node.target))
    return None
