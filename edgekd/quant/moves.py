"""Rules for what only moves values: reshapes, transposes, slices, shuffles, and paddings that a convolution can take in."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn

from edgekd.quant import ops
from edgekd.quant.fold import module_of
from edgekd.quant.rules import PROBE_BATCH, argument, batched, identity, insert, replace, source_of


def reshape(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    x = source_of(node)
    before, after = x.meta["shape"], node.meta["shape"]
    if before and after and before[0] == after[0] == PROBE_BATCH and x.meta["float"]:
        replace(graph, node, ops.Reshape(after[1:]), x)


def transpose(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    x = source_of(node)
    rank = len(x.meta["shape"] or ())
    order = list(range(rank))
    if node.target in ("permute", torch.permute):
        given = argument(node, 1, "dims")
        axes: Any = given if isinstance(given, (list, tuple)) else node.args[1:]
        order = [int(axis) % rank for axis in axes]
    else:
        left, right = argument(node, 1, "dim0") % rank, argument(node, 2, "dim1") % rank
        order[left], order[right] = order[right], order[left]
    if rank and order[0] == 0:
        replace(graph, node, ops.Transpose(order), x)


def split(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """chunk or split, each part read by its number: one slice a part."""
    x = source_of(node)
    parts, axis = node.meta.get("parts"), argument(node, 2, "dim", 0)
    if not parts or axis % len(parts[0]) == 0 or any(user.target is not operator.getitem for user in node.users):
        return
    axis %= len(parts[0])
    for user in list(node.users):
        number = int(str(user.args[1])) % len(parts)
        start = sum(part[axis] for part in parts[:number])
        replace(graph, user, ops.Slice(axis, start, start + parts[number][axis]), x)
    graph.graph.erase_node(node)


def indexed(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """x[:, a:b, ::2]: one slice an axis that is cut; not an index that drops an axis or adds one."""
    x = source_of(node)
    if not batched(x):
        return
    shape = x.meta["shape"]
    given = argument(node, 1, "index")
    index = list(given) if isinstance(given, tuple) else [given]
    if index.count(Ellipsis) == 1:
        place = index.index(Ellipsis)
        index[place : place + 1] = [slice(None)] * (len(shape) - len(index) + 1)
    if not all(isinstance(one, slice) for one in index):
        return
    cuts = [(axis, one.indices(shape[axis])) for axis, one in enumerate(index)]
    cuts = [(axis, cut) for axis, cut in cuts if cut != (0, shape[axis], 1)]
    if any(axis == 0 or cut[2] < 1 for axis, cut in cuts):
        return
    for axis, cut in cuts:
        x = insert(graph, node, ops.Slice(axis, *cut), x)
    node.replace_all_uses_with(x)
    graph.graph.erase_node(node)


def expand(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """[N,C,1,1] over all pixels: nothing to do for a product with a tensor of that size."""
    x = source_of(node)
    before, after = x.meta["shape"], node.meta["shape"]
    if not batched(x) or before == after:
        identity(graph, node, module) if before == after else None
    elif len(after) == 4 and before == (*after[:2], 1, 1):
        if all(_multiplies(user, node) for user in node.users):
            identity(graph, node, module)
        else:
            replace(graph, node, ops.Spread(*after[2:]), x)


def _multiplies(user: fx.Node, node: fx.Node) -> bool:
    others = [one for one in user.all_input_nodes if one is not node]
    products = (operator.mul, operator.imul, torch.mul, "mul")
    return user.target in products and any(one.meta["shape"] == node.meta["shape"] for one in others)


def shuffle(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """torch's own channel shuffle."""
    x, groups = source_of(node), module.groups if module is not None else argument(node, 1, "groups")
    channels, *pixels = x.meta["shape"][1:]
    grouped = insert(graph, node, ops.Reshape((groups, channels // groups, *pixels)), x, name=f"{node.name}_grouped")
    order = (0, 2, 1, *range(3, 3 + len(pixels)))
    mixed = insert(graph, node, ops.Transpose(order), grouped, name=f"{node.name}_mixed")
    replace(graph, node, ops.Reshape((channels, *pixels)), mixed)


def pad(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """Zeros on both sides alike, which convolutions alone read: part of their own padding."""
    if module is not None:
        left, right, top, bottom = module.padding
        zeros = True
    else:
        given = argument(node, 1, "pad")
        zeros = argument(node, 2, "mode", "constant") == "constant" and not argument(node, 3, "value", 0)
        left, right, top, bottom = given if len(given) == 4 else (0, 1, 0, 1)
    convs = [module_of(graph, user) for user in node.users]
    if not zeros or left != right or top != bottom or min(left, top) < 0:
        return
    if all(isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" and conv.padding != "same" for conv in convs):
        for conv in dict.fromkeys(convs):
            own: Any = (0, 0) if conv.padding == "valid" else conv.padding  # type: ignore[union-attr]
            conv.padding = (own[0] + top, own[1] + left)  # type: ignore[union-attr]
        identity(graph, node, module)
