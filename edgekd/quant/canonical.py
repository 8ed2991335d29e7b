"""Rules that rewrite one traced call to the vocabulary of ``ops`` and torch.nn; what no rule knows stays as it was traced."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from edgekd.quant import ops
from edgekd.quant.fold import module_of

PROBE_BATCH = 2  # batch of the run that notes shapes


def free_name(graph: fx.GraphModule, name: str) -> str:
    taken = {found for found, _ in graph.named_modules()} | set(dir(graph))
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _insert(graph: fx.GraphModule, node: fx.Node, module: nn.Module, *inputs: fx.Node, name: str | None = None) -> fx.Node:
    """Call ``module`` on ``inputs`` right before ``node``; shapes are noted by the run at the end."""
    target = free_name(graph, name or node.name)
    graph.add_submodule(target, module.eval())
    with graph.graph.inserting_before(node):
        made = graph.graph.call_module(target, inputs)
    made.meta = dict(node.meta)
    return made


def _replace(graph: fx.GraphModule, node: fx.Node, module: nn.Module, *inputs: fx.Node) -> None:
    if node.op == "call_module":  # keeps its name
        graph.set_submodule(str(node.target), module.eval())
        node.args, node.kwargs = inputs, {}
        return
    node.replace_all_uses_with(_insert(graph, node, module, *inputs))
    graph.graph.erase_node(node)


def canonical(graph: fx.GraphModule, node: fx.Node) -> None:
    """Rewrite one node by the rule for what it calls, if there is one."""
    module = module_of(graph, node)
    if module is not None:
        rule = next((rule for kind, rule in _MODULES.items() if type(module) is kind), None)
    elif node.op in ("call_function", "call_method"):
        rule = _CALLS.get(node.target if node.op == "call_function" else str(node.target).rstrip("_"))
        if rule is None and getattr(node.target, "__name__", "") == "stochastic_depth":
            rule = _identity
    else:
        rule = None
    if rule is not None and (rule is _concat or (node.args and isinstance(node.args[0], fx.Node))):
        rule(graph, node, module)


Rule = Callable[[fx.GraphModule, fx.Node, Any], None]


def _argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """A constant argument by place or name; values computed from shapes are read from the probe."""
    value = node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
    return fx.map_arg(value, lambda inner: inner.meta["value"])


def _source(node: fx.Node) -> fx.Node:
    """The node whose tensor this one works on."""
    source = node.args[0]
    if not isinstance(source, fx.Node):
        raise TypeError(f"{node.format_node()} does not work on a tensor")
    return source


def _identity(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    node.replace_all_uses_with(_source(node))
    graph.graph.erase_node(node)


def _becomes(make: Callable[[], nn.Module]) -> Rule:
    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        _replace(graph, node, make(), _source(node))

    return rule


def _clip(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    if module is not None:
        low, high = module.min_val, module.max_val
    else:
        hardtanh = node.target is F.hardtanh
        low = _argument(node, 1, "min_val" if hardtanh else "min", -1.0 if hardtanh else None)
        high = _argument(node, 2, "max_val" if hardtanh else "max", 1.0 if hardtanh else None)
    if low == 0 and high is None:
        _replace(graph, node, nn.ReLU(), _source(node))
    elif isinstance(low, (int, float)) and isinstance(high, (int, float)):
        _replace(graph, node, nn.Hardtanh(float(low), float(high)), _source(node))


def _gated(gate: Callable[[], nn.Module]) -> Rule:
    """x * gate(x): HardSwish and SiLU, split so that each part has an integer kernel."""

    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        x = _source(node)
        part = _insert(graph, node, gate(), x, name=f"{node.name}_gate")
        _replace(graph, node, ops.Mul(), x, part)

    return rule


def _of_two(make: Callable[[], nn.Module]) -> Rule:
    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        if len(node.args) != 2 or node.kwargs:
            return
        left, right = node.args
        if isinstance(left, fx.Node) and isinstance(right, fx.Node) and _batched(left) and _batched(right):
            _replace(graph, node, make(), left, right)

    return rule


def _batched(node: fx.Node) -> bool:
    """Is it a float tensor with a value for each image, not a constant?"""
    return (
        bool(node.meta["float"])
        and node.op != "get_attr"
        and len(node.meta["shape"] or ()) >= 2
        and node.meta["shape"][0] == PROBE_BATCH
    )


def _concat(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    given: Any = node.args[0] if node.args else node.kwargs.get("tensors")
    parts = [part for part in given or () if isinstance(part, fx.Node) and _batched(part)]
    axis = _argument(node, 1, "dim", 0)
    if parts and len(parts) == len(given) and axis != 0:
        _replace(graph, node, ops.Concat(int(axis)), *parts)


def _mean(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    x = _source(node)
    axes, shape = _argument(node, 1, "dim"), x.meta["shape"]
    if shape and len(shape) == 4 and isinstance(axes, (list, tuple)) and sorted(axis % 4 for axis in axes) == [2, 3]:
        pooled = _insert(graph, node, ops.GlobalAvgPool(), x, name=f"{node.name}_pool")
        _replace(graph, node, ops.Reshape(node.meta["shape"][1:]), pooled)


def _adaptive_pool(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """An adaptive average pool at a known size is a global pool, a plain pool, nothing, or a spreading of one place."""
    x = _source(node)
    before, after = x.meta["shape"][2:], node.meta["shape"][2:]
    if len(before) != 2:
        return
    if before == after:
        _identity(graph, node, module)
    elif after == (1, 1):
        _replace(graph, node, ops.GlobalAvgPool(), x)
    elif before == (1, 1):
        _replace(graph, node, ops.Spread(*after), x)
    elif all(big % small == 0 for big, small in zip(before, after, strict=True)):
        _replace(graph, node, nn.AvgPool2d((before[0] // after[0], before[1] // after[1])), x)


def _pool(kind: type[nn.Module], names: tuple[str, ...]) -> Rule:
    def rule(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
        given = {name: _argument(node, place + 1, name) for place, name in enumerate(names)}
        if not given.pop("return_indices", False) and not given.get("divisor_override"):
            given = {name: value for name, value in given.items() if value is not None and value != []}
            _replace(graph, node, kind(**given), _source(node))

    return rule


def _reshape(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    x = _source(node)
    before, after = x.meta["shape"], node.meta["shape"]
    if before and after and before[0] == after[0] == PROBE_BATCH and x.meta["float"]:
        _replace(graph, node, ops.Reshape(after[1:]), x)


def _transpose(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    x = _source(node)
    rank = len(x.meta["shape"] or ())
    order = list(range(rank))
    if node.target in ("permute", torch.permute):
        given = _argument(node, 1, "dims")
        axes: Any = given if isinstance(given, (list, tuple)) else node.args[1:]
        order = [int(axis) % rank for axis in axes]
    else:
        left, right = _argument(node, 1, "dim0") % rank, _argument(node, 2, "dim1") % rank
        order[left], order[right] = order[right], order[left]
    if rank and order[0] == 0:
        _replace(graph, node, ops.Transpose(order), x)


def _split(graph: fx.GraphModule, node: fx.Node, module: Any) -> None:
    """chunk or split, each part read by its number: one slice a part."""
    x = _source(node)
    parts, axis = node.meta.get("parts"), _argument(node, 2, "dim", 0)
    if not parts or axis % len(parts[0]) == 0 or any(user.target is not operator.getitem for user in node.users):
        return
    axis %= len(parts[0])
    for user in list(node.users):
        number = int(str(user.args[1])) % len(parts)
        start = sum(part[axis] for part in parts[:number])
        _replace(graph, user, ops.Slice(axis, start, start + parts[number][axis]), x)
    graph.graph.erase_node(node)


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
_RELU6, _SIGMOID = _becomes(lambda: nn.Hardtanh(0.0, 6.0)), _becomes(nn.Sigmoid)
_HARDSWISH, _SILU = _gated(nn.Hardsigmoid), _gated(nn.Sigmoid)
_POOL_NAMES = ("kernel_size", "stride", "padding")
_AVG_POOL = _pool(nn.AvgPool2d, (*_POOL_NAMES, "ceil_mode", "count_include_pad", "divisor_override"))
_MAX_POOL = _pool(nn.MaxPool2d, (*_POOL_NAMES, "dilation", "ceil_mode", "return_indices"))
_MODULES: dict[type[nn.Module], Rule] = {
    nn.Dropout: _identity,
    nn.Dropout1d: _identity,
    nn.Dropout2d: _identity,
    nn.AlphaDropout: _identity,
    nn.Identity: _identity,
    nn.ReLU6: _RELU6,
    nn.Hardtanh: _clip,
    nn.Hardswish: _HARDSWISH,
    nn.SiLU: _SILU,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.Flatten: _reshape,
}
_CALLS: dict[Any, Rule] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, "relu"), _becomes(nn.ReLU)),
    **dict.fromkeys((F.dropout, F.dropout2d, F.alpha_dropout, "contiguous", "detach", "clone"), _identity),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid"), _SIGMOID),
    **dict.fromkeys((F.hardtanh, torch.clamp, torch.clip, "clamp", "clip"), _clip),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add"), _of_two(ops.Add)),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul"), _of_two(ops.Mul)),
    **dict.fromkeys((torch.cat, torch.concat), _concat),
    **dict.fromkeys((torch.mean, "mean"), _mean),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze), _reshape),
    **dict.fromkeys(("flatten", "reshape", "view", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys((torch.transpose, torch.swapaxes, torch.permute, "transpose", "swapaxes", "permute"), _transpose),
    **dict.fromkeys((torch.chunk, torch.split, "chunk", "split"), _split),
    F.relu6: _RELU6,
    F.hardswish: _HARDSWISH,
    F.silu: _SILU,
    F.hardsigmoid: _becomes(nn.Hardsigmoid),
    F.leaky_relu: lambda graph, node, module: _replace(
        graph, node, nn.LeakyReLU(_argument(node, 1, "negative_slope", 0.01)), _source(node)
    ),
    F.adaptive_avg_pool2d: _adaptive_pool,
    F.avg_pool2d: _AVG_POOL,
    F.max_pool2d: _MAX_POOL,
    torch.max_pool2d: _MAX_POOL,
    torch.avg_pool2d if hasattr(torch, "avg_pool2d") else F.avg_pool2d: _AVG_POOL,
}
