"""Rewrite one traced call to the vocabulary of ``ops`` and torch.nn; what no rule knows stays as it was traced."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from edgekd.quant import functional, moves, ops, pools
from edgekd.quant.fold import module_of
from edgekd.quant.rules import Rule, argument, batched, becomes, identity, insert, replace, source_of


def canonical(graph: fx.GraphModule, node: fx.Node) -> None:
    """Rewrite one node by the rule for what it calls, if there is one."""
    if not node.users:  # nobody reads it, or an earlier rule has replaced it
        return
    module = module_of(graph, node)
    if module is not None:
        rule = next((rule for kind, rule in _MODULES.items() if type(module) is kind), None)
    elif node.op in ("call_function", "call_method"):
        rule = _CALLS.get(node.target if node.op == "call_function" else str(node.target).rstrip("_"))
        if rule is None and getattr(node.target, "__name__", "") == "stochastic_depth":
            rule = identity
    else:
        rule = None
    if rule is not None and (rule is _concat or (node.args and isinstance(node.args[0], fx.Node))):
        rule(graph, node, module)


def _clip(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    if module is not None:
        low, high = module.min_val, module.max_val
    else:
        hardtanh = node.target is F.hardtanh
        low = argument(node, 1, "min_val" if hardtanh else "min", -1.0 if hardtanh else None)
        high = argument(node, 2, "max_val" if hardtanh else "max", 1.0 if hardtanh else None)
    if low == 0 and high is None:
        replace(graph, node, nn.ReLU(), source_of(node))
    elif isinstance(low, (int, float)) and isinstance(high, (int, float)):
        replace(graph, node, nn.Hardtanh(float(low), float(high)), source_of(node))


def _leaky(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    replace(graph, node, nn.LeakyReLU(argument(node, 1, "negative_slope", 0.01)), source_of(node))


def _gelu(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    replace(graph, node, nn.GELU(argument(node, 1, "approximate", "none")), source_of(node))


def _gated(gate: Callable[[], nn.Module]) -> Rule:
    """x * gate(x): HardSwish and SiLU, split so that each part has an integer kernel."""

    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        x = source_of(node)
        part = insert(graph, node, gate(), x, name=f"{node.name}_gate")
        replace(graph, node, ops.Mul(), x, part)

    return rule


def _of_two(make: Callable[[], nn.Module]) -> Rule:
    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        if len(node.args) != 2 or node.kwargs:
            return
        left, right = node.args
        if isinstance(left, fx.Node) and isinstance(right, fx.Node) and batched(left) and batched(right):
            replace(graph, node, make(), left, right)

    return rule


def _concat(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    given: Any = node.args[0] if node.args else node.kwargs.get("tensors")
    parts = [part for part in given or () if isinstance(part, fx.Node) and batched(part)]
    axis = argument(node, 1, "dim", 0)
    if parts and len(parts) == len(given) and axis != 0:
        replace(graph, node, ops.Concat(int(axis)), *parts)


LEAVES = (
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm2d,
    nn.BatchNorm1d,
    nn.ReLU,
    nn.ReLU6,
    nn.Hardswish,
    nn.SiLU,
    nn.Hardsigmoid,
    nn.Sigmoid,
)
_RELU6, _SIGMOID = becomes(lambda: nn.Hardtanh(0.0, 6.0)), becomes(nn.Sigmoid)
_HARDSWISH, _SILU = _gated(nn.Hardsigmoid), _gated(nn.Sigmoid)
_ADAPTIVE_MEAN, _ADAPTIVE_MAX = pools.adaptive(nn.AvgPool2d), pools.adaptive(nn.MaxPool2d)
_MODULES: dict[type[nn.Module], Rule] = {
    nn.Dropout: identity,
    nn.Dropout1d: identity,
    nn.Dropout2d: identity,
    nn.AlphaDropout: identity,
    nn.Identity: identity,
    nn.ReLU6: _RELU6,
    nn.Hardtanh: _clip,
    nn.Hardswish: _HARDSWISH,
    nn.SiLU: _SILU,
    nn.AvgPool2d: pools.average,
    nn.AdaptiveAvgPool2d: _ADAPTIVE_MEAN,
    nn.AdaptiveMaxPool2d: _ADAPTIVE_MAX,
    nn.Flatten: moves.reshape,
    nn.Unflatten: moves.reshape,
    nn.ChannelShuffle: moves.shuffle,
    nn.ZeroPad2d: moves.pad,
}
_CALLS: dict[Any, Rule] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, "relu"), becomes(nn.ReLU)),
    **dict.fromkeys((F.dropout, F.dropout2d, F.alpha_dropout, "contiguous", "detach", "clone"), identity),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid"), _SIGMOID),
    **dict.fromkeys((F.hardtanh, torch.clamp, torch.clip, "clamp", "clip"), _clip),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add"), _of_two(ops.Add)),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul"), _of_two(ops.Mul)),
    **dict.fromkeys((torch.cat, torch.concat), _concat),
    **dict.fromkeys((torch.mean, "mean"), pools.mean),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze), moves.reshape),
    **dict.fromkeys(("flatten", "unflatten", "reshape", "view", "squeeze", "unsqueeze"), moves.reshape),
    **dict.fromkeys((torch.transpose, torch.swapaxes, torch.permute, "transpose", "swapaxes", "permute"), moves.transpose),
    **dict.fromkeys((torch.chunk, torch.split, "chunk", "split"), moves.split),
    F.relu6: _RELU6,
    F.hardswish: _HARDSWISH,
    F.silu: _SILU,
    F.hardsigmoid: becomes(nn.Hardsigmoid),
    F.leaky_relu: _leaky,
    **dict.fromkeys((torch.amax, "amax"), pools.amax),
    **dict.fromkeys((torch.channel_shuffle, F.channel_shuffle, F.native_channel_shuffle), moves.shuffle),
    **dict.fromkeys(("expand", "expand_as"), moves.expand),
    operator.getitem: moves.indexed,
    F.pad: moves.pad,
    F.conv2d: functional.convolution,
    F.linear: functional.linear,
    F.gelu: _gelu,
    F.adaptive_avg_pool2d: _ADAPTIVE_MEAN,
    F.adaptive_max_pool2d: _ADAPTIVE_MAX,
    F.avg_pool2d: pools.average,
    F.max_pool2d: pools.maximum,
    torch.max_pool2d: pools.maximum,
}
