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


def average(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """Never one that counts its padding and hangs over the edge: onnxruntime 1.31's integer kernel divides by a wrong number."""
    x, given = source_of(node), _given(node, module, (*_NAMES, "ceil_mode", "count_include_pad", "divisor_override"))
    if given.pop("divisor_override", None):
        return
    pool = nn.AvgPool2d(**given)
    if pool.ceil_mode and pool.count_include_pad:
        if any(_ends(pool.padding)):
            height, width = _ends(pool.padding)
            x = insert(graph, node, nn.ZeroPad2d((width, width, height, height)), x, name=f"{node.name}_pad")
        pool.padding, pool.count_include_pad = 0, False
    replace(graph, node, pool, x)


def maximum(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    given = _given(node, module, (*_NAMES, "dilation", "ceil_mode", "return_indices"))
    if not given.pop("return_indices", False):
        replace(graph, node, nn.MaxPool2d(**given), source_of(node))


def _given(node: fx.Node, module: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if module is not None:
        return {name: getattr(module, name) for name in names}
    given = {name: argument(node, place + 1, name) for place, name in enumerate(names)}
    return {name: value for name, value in given.items() if value is not None and value != []}


def _ends(padding: Any) -> tuple[int, int]:
    """Of height and width."""
    height, width = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    return height, width
