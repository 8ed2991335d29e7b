"""Layers whose weights are given to a function: F.conv2d and F.linear with parameters or what is made of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn

from edgekd.quant.rules import argument, replace, source_of


def constant(graph: fx.GraphModule, value: Any) -> Tensor | None:
    """What is computed from parameters and buffers alone; None for what depends on the images or is no tensor."""
    if not isinstance(value, fx.Node):
        return None
    if value.op == "get_attr":
        found: Any = graph
        for part in str(value.target).split("."):
            found = getattr(found, part)
        return found.detach() if isinstance(found, Tensor) else None
    inputs = {one: constant(graph, one) for one in value.all_input_nodes}
    if value.op not in ("call_function", "call_method") or not inputs or any(one is None for one in inputs.values()):
        return None
    args: Any = fx.map_arg(value.args, inputs.__getitem__)
    kwargs: Any = fx.map_arg(value.kwargs, inputs.__getitem__)
    target: Any = value.target if callable(value.target) else getattr(args[0], value.target)
    made = target(*(args if callable(value.target) else args[1:]), **kwargs)
    return made if isinstance(made, Tensor) else None


def convolution(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    weight, bias, sound = _parameters(graph, node)
    if weight is None or weight.dim() != 4 or not sound:
        return
    groups = argument(node, 6, "groups", 1)
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=_pair(argument(node, 3, "stride", 1)),
        padding=_pair(argument(node, 4, "padding", 0)),
        dilation=_pair(argument(node, 5, "dilation", 1)),
        groups=groups,
    )
    layer.weight, layer.bias = nn.Parameter(weight.clone()), None if bias is None else nn.Parameter(bias.clone())
    replace(graph, node, layer, source_of(node))


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def linear(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    weight, bias, sound = _parameters(graph, node)
    if weight is None or weight.dim() != 2 or not sound:
        return
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight.clone())
    layer.bias = None if bias is None else nn.Parameter(bias.clone())  # type: ignore[assignment]
    replace(graph, node, layer, source_of(node))


def _parameters(graph: fx.GraphModule, node: fx.Node) -> tuple[Tensor | None, Tensor | None, bool]:
    """Weight, bias, and whether the bias is a constant too, or none."""
    weight, bias = (
        node.args[place] if len(node.args) > place else node.kwargs.get(name) for place, name in ((1, "weight"), (2, "bias"))
    )
    known = constant(graph, bias)
    return constant(graph, weight), known, known is not None or bias is None
