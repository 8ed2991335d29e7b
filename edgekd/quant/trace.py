"""Trace a network with torch.fx in eval mode and rewrite it to a small vocabulary, so that placement need not guess.

After ``prepare`` every operation that quantization knows is a call of one module (torch.nn's own, or one of ``ops``), in-place
writes are gone, batch norm is folded and each call of a weighted layer has a layer of its own. Whatever is not known stays as
traced and runs in float.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgekd.core import InputError
from edgekd.quant.canonical import LEAVES, canonical
from edgekd.quant.channels_last import convolve_linear_layers
from edgekd.quant.constants import fold_constants, join_hard_sigmoids
from edgekd.quant.fold import check_fold, fold_batch_norms, fold_hard_sigmoids, module_of, require_finite
from edgekd.quant.rules import PROBE_BATCH, free_name


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if super().is_leaf_module(m, module_qualified_name):
            return True
        kind = next((kind for kind in LEAVES if isinstance(m, kind)), None)
        return kind is not None and type(m).forward is kind.forward  # a subclass that only sets its own defaults


class _Shapes(fx.Interpreter):
    """Run the graph once and note each node's shape (a tuple; of tuples for a chunk) and dtype in ``meta``."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta["value"] = None if isinstance(value, Tensor) else value
        n.meta["shape"] = tuple(value.shape) if isinstance(value, Tensor) else None
        n.meta["float"] = isinstance(value, Tensor) and value.is_floating_point()
        parts = value if isinstance(value, (tuple, list)) else (value,)
        n.meta["computes"] = any(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
        if isinstance(value, (tuple, list)) and all(isinstance(part, Tensor) for part in value):
            n.meta["value"], n.meta["parts"] = None, [tuple(part.shape) for part in value]
        return value


def prepare(model: nn.Module, image_size: tuple[int, int], channels: int = 3) -> fx.GraphModule:
    """A folded, canonical copy of ``model`` in eval mode, for images [N, channels, H, W]; the model itself is not changed.

    Raises InputError: the network cannot be traced (its forward branches on values), or does not map images to logits [N,
    classes].
    """
    # In float64 until the fold is checked: there only a wrong fold parts the logits. In float32 a sound one does, in networks
    # that amplify what weights lose by rounding, as those do whose statistics are of few images.
    model = copy.deepcopy(model).cpu().double().eval()
    example = torch.randn(PROBE_BATCH, channels, *image_size, generator=torch.Generator().manual_seed(0)).double()
    try:
        graph = fx.GraphModule(model, _Tracer().trace(model))
    except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as error:
        raise InputError(
            "torch.fx cannot trace this network",
            where=type(model).__name__,
            seen=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="let forward() not branch on the values or shapes of tensors",
        ) from error
    try:
        with torch.no_grad():
            logits = _Shapes(graph).run(example)
    except RuntimeError as error:
        what = f"the network cannot run on images of {image_size[0]}x{image_size[1]}"
        raise InputError(what, where=type(model).__name__, seen=str(error).splitlines()[0]) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != PROBE_BATCH:
        seen = f"{tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError("the network does not return logits [N, classes]", where=type(model).__name__, seen=seen)
    require_finite(logits)
    _drop_inplace(graph)
    _one_layer_a_call(graph)
    for node in list(graph.graph.nodes):
        canonical(graph, node)
    join_hard_sigmoids(graph)
    convolve_linear_layers(graph)
    fold_constants(graph)
    fold_batch_norms(graph)
    fold_hard_sigmoids(graph)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    _drop_unused_constants(graph)
    graph.graph.lint()
    graph.recompile()
    with torch.no_grad():
        check_fold(logits, graph(example))
        _Shapes(graph.float()).run(example.float())
    for node in graph.graph.nodes:
        node.meta.pop("nn_module_stack", None)  # names from before the rewriting; the exporter would believe them
    return graph


def _drop_inplace(graph: fx.GraphModule) -> None:
    """Make in-place writes plain: whoever reads the overwritten tensor later reads the result instead."""
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    for node in list(graph.graph.nodes):
        module = module_of(graph, node)
        writes = bool(getattr(module, "inplace", False)) or bool(node.kwargs.get("inplace", False))
        writes |= (node.op == "call_method" and str(node.target).endswith("_")) or node.target in (operator.iadd, operator.imul)
        if not writes or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        if module is not None and hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
        if "inplace" in node.kwargs:
            node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
        overwritten = node.args[0]
        later = {user for user in overwritten.users if order[user] > order[node]}
        overwritten.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _one_layer_a_call(graph: fx.GraphModule) -> None:
    """A module called twice becomes two: each call has its own input range, so its own bias and, for ReLU, its own site."""
    seen: set[str] = set()
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        if node.target in seen:
            module = copy.deepcopy(graph.get_submodule(str(node.target)))
            node.target = free_name(graph, f"{node.target}_again")
            graph.add_submodule(node.target, module)
        seen.add(str(node.target))


def _drop_unused_constants(graph: fx.GraphModule) -> None:
    """Parameters and buffers that were folded away: ``delete_all_unused_submodules`` leaves those that no layer holds, and a
    graph made of this one would lack them."""
    called = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name, _ in [*graph.named_parameters(), *graph.named_buffers()]:
        above = name.split(".")[:-1]
        if name not in read and not any(".".join(above[:depth]) in called for depth in range(1, len(above) + 1)):
            owner, _, own = name.rpartition(".")
            delattr(graph.get_submodule(owner), own)
