"""Rules for pools: at a known size each is a global pool, a plain one, or nothing at all."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from edgekd.quant import ops
from edgekd.quant.rules import Rule, argument, identity, insert, replace, source_of

_NAMES = ("kernel_size", "stride", "padding")


def mean(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """Over all pixels: torch's exporter would write ReduceMean, which stays float."""
    if _over_all_pixels(node):
        pooled = insert(graph, node, ops.GlobalAvgPool(), source_of(node), name=f"{node.name}_pool")
        replace(graph, node, ops.Reshape(node.meta["shape"][1:]), pooled)


def amax(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    if _over_all_pixels(node):
        x = source_of(node)
        height, width = x.meta["shape"][2:]
        pooled = insert(graph, node, nn.MaxPool2d((height, width)), x, name=f"{node.name}_pool")
        replace(graph, node, ops.Reshape(node.meta["shape"][1:]), pooled)


def _over_all_pixels(node: fx.Node) -> bool:
    axes, shape = argument(node, 1, "dim"), source_of(node).meta["shape"]
    return bool(shape) and len(shape) == 4 and isinstance(axes, (list, tuple)) and sorted(axis % 4 for axis in axes) == [2, 3]


def adaptive(kind: type[nn.AvgPool2d] | type[nn.MaxPool2d]) -> Rule:
    """An adaptive pool is a global pool, a plain pool, nothing, or a spreading of one place."""

    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        x = source_of(node)
        before, after = tuple(x.meta["shape"][2:]), tuple(node.meta["shape"] or ())[2:]
        if len(before) != 2 or len(after) != 2:  # with the indices of the maxima
            return
        if before == after:
            identity(graph, node, module)
        elif after == (1, 1) and kind is nn.AvgPool2d:
            replace(graph, node, ops.GlobalAvgPool(), x)
        elif before == (1, 1):
            replace(graph, node, ops.Spread(*after), x)
        elif all(big % small == 0 for big, small in zip(before, after, strict=True)):
            replace(graph, node, kind((before[0] // after[0], before[1] // after[1])), x)

    return rule


def _plain(kind: type[nn.Module], names: tuple[str, ...]) -> Rule:
    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        given = {name: argument(node, place + 1, name) for place, name in enumerate(names)}
        if not given.pop("return_indices", False) and not given.get("divisor_override"):
            given = {name: value for name, value in given.items() if value is not None and value != []}
            replace(graph, node, kind(**given), source_of(node))

    return rule


average = _plain(nn.AvgPool2d, (*_NAMES, "ceil_mode", "count_include_pad", "divisor_override"))
maximum = _plain(nn.MaxPool2d, (*_NAMES, "dilation", "ceil_mode", "return_indices"))
