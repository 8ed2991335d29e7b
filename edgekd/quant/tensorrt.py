"""Placement for TensorRT: which sites its file has, and which of them share one scale.

TensorRT's grids are int8 with zero point 0, one scale a tensor. It fuses a convolution with the activation behind it, and an
addition with the convolution before it, so it wants a pair of QuantizeLinear and DequantizeLinear only

    - before each weighted layer and each average pool;
    - on the skip branch of an addition whose main branch is a bare convolution, on both branches where neither is;
    - before ops that only move data or join it, not behind them: a scale passes through these, and what is joined shares it;
    - never on logits, nor on a gate (squeeze-and-excite, HardSwish, SiLU): that stays float.

Source: NVIDIA's TensorRT developer guide, "Q/DQ Layer-Placement Recommendations".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import fx, nn

from edgekd.quant import ops

_PASSING = (*ops.MOVES, ops.Concat)
_WEIGHTED = (nn.Conv2d, nn.Linear)


def place_for_tensorrt(
    nodes: Sequence[fx.Node], module: Mapping[fx.Node, nn.Module | None], on_integers: Mapping[fx.Node, bool]
) -> list[list[fx.Node]]:
    """Groups of nodes whose outputs are rounded, in the order of ``nodes``; the members of a group share one scale.

    nodes: of a prepared graph, before sites are inserted. on_integers: does the node compute on integers in onnxruntime's file?
    Whatever is returned is rounded there too.
    """
    sources: dict[fx.Node, frozenset[fx.Node]] = {}  # the tensors that a moved or joined tensor is made of
    depth: dict[fx.Node, int] = {}  # weighted layers on the longest way to a node
    group: dict[fx.Node, frozenset[fx.Node]] = {}
    for node in nodes:
        before = node.all_input_nodes
        passes = isinstance(module[node], _PASSING)
        sources[node] = frozenset().union(*(sources[one] for one in before)) if passes else frozenset((node,))
        depth[node] = max((depth[one] for one in before), default=0) + isinstance(module[node], _WEIGHTED)
        for rounded in _rounded_inputs(node, module, on_integers, depth):
            joined = sources[rounded].union(*(group.get(one, ()) for one in sources[rounded]))
            group.update(dict.fromkeys(joined, joined))
    return [
        [node for node in nodes if node in members] for members in dict.fromkeys(group[node] for node in nodes if node in group)
    ]


def _rounded_inputs(
    node: fx.Node,
    module: Mapping[fx.Node, nn.Module | None],
    on_integers: Mapping[fx.Node, bool],
    depth: Mapping[fx.Node, int],
) -> Sequence[fx.Node]:
    """The inputs that a node wants rounded."""
    inputs = node.all_input_nodes if on_integers[node] else []
    if isinstance(module[node], (*_WEIGHTED, ops.GlobalAvgPool, nn.AvgPool2d)):
        return inputs
    if isinstance(module[node], ops.Add):
        bare = [one for one in inputs if isinstance(module[one], nn.Conv2d) and on_integers[one] and len(one.users) == 1]
        main = max(bare, key=depth.__getitem__, default=None)  # of two convolutions the one behind more layers
        return [one for one in inputs if one is not main]
    return []
