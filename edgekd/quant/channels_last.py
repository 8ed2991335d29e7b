"""Linear layers over the channels of [N,H,W,C], as ConvNeXt has them, become 1x1 convolutions, which have integer kernels.

The transposes this brings cancel those that brought the channels to the end.
"""

from __future__ import annotations

from torch import fx, nn

from edgekd.quant import ops
from edgekd.quant.fold import module_of
from edgekd.quant.rules import PROBE_BATCH, insert, source_of

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_ELEMENT_WISE = (nn.GELU, nn.ReLU, nn.Hardtanh, nn.LeakyReLU, nn.Sigmoid, nn.Hardsigmoid, nn.ELU, nn.Mish, nn.Tanh, nn.Softplus)


def convolve_linear_layers(graph: fx.GraphModule) -> None:
    """Make each such layer a convolution, in place, and leave out transposes that then undo one another."""
    made = [node for node in list(graph.graph.nodes) if isinstance(module_of(graph, node), nn.Linear) and _convolve(graph, node)]
    if made:
        _sink_transposes(graph)


def _convolve(graph: fx.GraphModule, node: fx.Node) -> bool:
    layer, x = graph.get_submodule(str(node.target)), source_of(node)
    shape = tuple(x.meta["shape"] or ())
    if not isinstance(layer, nn.Linear) or len(shape) != 4 or shape[0] != PROBE_BATCH:
        return False
    conv = nn.Conv2d(layer.in_features, layer.out_features, 1, bias=layer.bias is not None)
    conv.weight, conv.bias = nn.Parameter(layer.weight.detach()[:, :, None, None]), layer.bias
    first = _transposed(graph, node, x, TO_FIRST)
    graph.set_submodule(str(node.target), conv.eval())
    node.args = (first,)
    node.meta["shape"] = tuple(node.meta["shape"][axis] for axis in TO_FIRST)
    _behind(graph, node)
    return True


def _transposed(graph: fx.GraphModule, before: fx.Node, x: fx.Node, order: tuple[int, ...]) -> fx.Node:
    made = insert(graph, before, ops.Transpose(order), x, name=f"{x.name}_transposed")
    made.meta = {**x.meta, "shape": tuple(x.meta["shape"][axis] for axis in order)}
    return made


def _behind(graph: fx.GraphModule, node: fx.Node) -> None:
    """Let all who read the node, whose channels are now first, read it with its channels last."""
    last = _transposed(graph, node.next, node, TO_LAST)
    node.replace_all_uses_with(last, delete_user_cb=lambda user: user is not last)


def _sink_transposes(graph: fx.GraphModule) -> None:
    """Front to back: past element-wise ops, until a transpose meets its inverse."""
    for node in list(graph.graph.nodes):
        module = module_of(graph, node)
        above = module_of(graph, node.args[0]) if node.args else None
        if not isinstance(above, ops.Transpose):
            continue
        transpose = source_of(node)
        x = source_of(transpose)
        if isinstance(module, ops.Transpose) and [above.order[axis] for axis in module.order] == [*range(len(above.order))]:
            node.replace_all_uses_with(x)
        elif isinstance(module, _ELEMENT_WISE) and above.order == TO_LAST:
            node.args = (x,)
            node.meta["shape"] = x.meta["shape"]
            _behind(graph, node)
    graph.graph.eliminate_dead_code()
