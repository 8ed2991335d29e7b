"""What rules that rewrite a traced graph are made of: new nodes, and what a node was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn

PROBE_BATCH = 2  # batch of the run that notes shapes

Rule = Callable[[fx.GraphModule, fx.Node, Any], None]  # graph, node, the module that the node calls or None


def free_name(graph: fx.GraphModule, name: str) -> str:
    taken = {found for found, _ in graph.named_modules()} | set(dir(graph))
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def insert(graph: fx.GraphModule, node: fx.Node, module: nn.Module, *inputs: fx.Node, name: str | None = None) -> fx.Node:
    """Call ``module`` on ``inputs`` right before ``node``; until the run at the end its shape is noted as that of ``node``."""
    target = free_name(graph, name or node.name)
    graph.add_submodule(target, module.eval())
    with graph.graph.inserting_before(node):
        made = graph.graph.call_module(target, inputs)
    made.meta = dict(node.meta)
    return made


def replace(graph: fx.GraphModule, node: fx.Node, module: nn.Module, *inputs: fx.Node) -> fx.Node:
    """Let ``module`` on ``inputs`` stand for the node; one that calls a module keeps its name."""
    if node.op == "call_module":
        graph.set_submodule(str(node.target), module.eval())
        node.args, node.kwargs = inputs, {}
        return node
    made = insert(graph, node, module, *inputs)
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)
    return made


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """A constant argument by place or name; values computed from shapes are read from the probe."""
    value = node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
    return fx.map_arg(value, lambda inner: inner.meta["value"])


def source_of(node: fx.Node) -> fx.Node:
    """The node whose tensor this one works on."""
    source = node.args[0]
    if not isinstance(source, fx.Node):
        raise TypeError(f"{node.format_node()} does not work on a tensor")
    return source


def identity(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    node.replace_all_uses_with(source_of(node))
    graph.graph.erase_node(node)


def becomes(make: Callable[[], nn.Module]) -> Rule:
    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        replace(graph, node, make(), source_of(node))

    return rule


def batched(node: fx.Node) -> bool:
    """Is it a float tensor with a value for each image, not a constant?"""
    return (
        bool(node.meta["float"])
        and node.op != "get_attr"
        and len(node.meta["shape"] or ()) >= 2
        and node.meta["shape"][0] == PROBE_BATCH
    )
