"""Placement: which tensors are rounded to 8 bits, which of them share one grid, and which layers stay float and why.

A site is one tensor with a grid for each family of flavours that rounds it; in the traced graph it is a ``Site`` module behind
the tensor's producer, in the exported graph a marker node of the same name. Placement follows what onnxruntime fuses: the output
of every compute group (a convolution with the clamp behind it, an addition with its ReLU, ...), both inputs of additions,
products and concatenations, and both ends of ops that only move data, on one shared grid. Nothing lies between a convolution and
its ReLU or Clip. TensorRT's file has some of these sites: ``edgekd.quant.tensorrt`` says which.

The site table (sites.json), schema 2, JSON types only:

    schema   2
    input    {"channels": 3, "image_size": [H, W]}
    sites    [{"name", "low", "high": range as calibrated, "signed", "known_range": bool, "scale": exact in float32,
    "zero_point": 0..255,
               "group": number, "flavours": ["ort"] or ["ort", "trt"]: families that round here, "trt_scale": exact in float32}];
               real = (q - zero_point) * scale, q in 0..255; sites of one group have one grid. TensorRT's: q * trt_scale, q in
               -128..127, of the same range; what it joins shares the scale of the widest
    groups   [[site name, ...]] of every group with more than one site
    layers   [{"layer": name of its weight without ".weight", "op", "input": site name, "output": site name or null}] quantized
    layers float    [{"layer", "reason"}] layers and ops left float on purpose
    weights  {"ort": 127, "ort-w7": 64, "trt": 127}: largest |q| of a weight by flavour
    unclipped [name]: Clips of the float network that are ReLUs here, because channels before them were equalised
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from edgekd.quant import ops
from edgekd.quant.fakequant import Grid, fake_quantize
from edgekd.quant.fold import module_of
from edgekd.quant.observer import Observer
from edgekd.quant.tensorrt import place_for_tensorrt

_COMPUTE = (ops.Add, ops.Mul, ops.Concat, ops.GlobalAvgPool, nn.AvgPool2d, nn.Sigmoid, nn.Hardsigmoid, nn.LeakyReLU)
_GATES = (nn.Sigmoid, nn.Hardsigmoid)
_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase, nn.Bilinear)


class Site(nn.Module):
    """One tensor on its way through, as ``mode`` says: "pass", "watch" or "mark" it, or round it on the grid of that family.

    A family without a grid here ("trt" at a site that TensorRT's file lacks) lets it pass. Holds no parameters or buffers.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.mode = "pass"  # pass | watch | mark | ort | trt
        self.observer: Observer | None = None
        self.grids: dict[str, Grid] = {}  # by family

    def forward(self, x: Tensor) -> Tensor:
        if (grid := self.grids.get(self.mode)) is not None:
            return fake_quantize(x, x.new_full((), grid.scale), *grid.levels)
        if self.mode == "mark":
            return torch.onnx.ops.symbolic("edgekd::Site", [x], {"name": self.name}, dtype=x.dtype, shape=x.shape, version=1)
        if self.mode == "watch" and self.observer is not None:
            self.observer.watch(x)
        return x

    def extra_repr(self) -> str:
        return f"{self.name}, {self.mode}, {self.grids}"


@dataclass(frozen=True)
class Group:
    """Sites that share one grid. watched: the members whose values are new (a moved tensor repeats its source)."""

    sites: tuple[Site, ...]
    watched: tuple[Site, ...]
    known: tuple[float, float] | None  # the range by construction, e.g. behind a sigmoid
    limit: float | None  # no member exceeds it by construction (a Clip)
    non_negative: bool
    tailed: bool  # a member is x * gate(x): non-negative but for a short tail


@dataclass(frozen=True)
class Bound:
    """What a tensor's values cannot exceed, whatever the image: zero from below, ``limit`` from above (a Clip)."""

    non_negative: bool
    limit: float | None


@dataclass(frozen=True)
class Layer:
    """A quantized layer: its module's name, the ONNX op it becomes, its input site and, if it has one, its output site."""

    name: str
    op: str
    input: Site
    output: Site | None


@dataclass(frozen=True)
class Placement:
    groups: tuple[Group, ...]
    tensorrt: tuple[tuple[Site, ...], ...]  # the sites of TensorRT's file, those together that share one scale
    layers: tuple[Layer, ...]
    floats: tuple[Mapping[str, str], ...]


@dataclass
class _Union:
    """Union-find over tensors that must share one grid."""

    parent: dict[fx.Node, fx.Node] = field(default_factory=dict)

    def find(self, node: fx.Node) -> fx.Node:
        while (above := self.parent.get(node, node)) is not node:
            node = above
        return node

    def join(self, left: fx.Node, right: fx.Node) -> None:
        self.parent[self.find(right)] = self.find(left)


def place(graph: fx.GraphModule) -> Placement:
    """Insert ``Site`` modules into a prepared graph and say what was placed. Deterministic: same graph, same names."""
    return _Placer(graph).place()


class _Placer:
    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.nodes = list(graph.graph.nodes)
        self.module = {node: module_of(graph, node) for node in self.nodes}
        self.sources = {node: set(node.all_input_nodes) for node in self.nodes}  # before sites come between
        self.fused: dict[fx.Node, fx.Node | None] = {}
        self.reads_integers: dict[fx.Node, bool] = {}  # would this node run on integers, if its inputs are?
        self.wanted: dict[fx.Node, bool] = {}  # does a reader of this node's output want integers?
        self.bound: dict[fx.Node, Bound] = {}
        self.tailed: dict[fx.Node, bool] = {}

    def place(self) -> Placement:
        self.fused = {node: self._clamp_behind(node) for node in self.nodes}
        for node in self.nodes:
            self.bound[node] = self._bound(node)
            self.tailed[node] = self._is_tailed(node)
        for node in reversed(self.nodes):
            self.wanted[node] = any(self.reads_integers[user] for user in node.users)
            self.reads_integers[node] = self._runs_on_integers(node)
        placed = [node for node in self.nodes if self._has_site(node)]
        union = self._shared(set(placed))
        tensorrt = place_for_tensorrt(self.nodes, self.module, self.reads_integers)
        site = {node: self._insert(node) for node in placed}
        members: dict[fx.Node, list[fx.Node]] = {}
        for node in placed:
            members.setdefault(union.find(node), []).append(node)
        self.graph.graph.lint()
        self.graph.recompile()
        return Placement(
            tuple(self._group(nodes, site) for nodes in members.values()),
            tuple(tuple(site[node] for node in nodes) for nodes in tensorrt),
            tuple(self._layer(node, site) for node in self.nodes if self._quantized_layer(node)),
            tuple(self._floats()),
        )

    def _quantized_layer(self, node: fx.Node) -> bool:
        return self._is(node, (nn.Conv2d, nn.Linear)) and self._float_reason(node) is None

    def _is(self, node: object, kinds: tuple[type[nn.Module], ...]) -> bool:
        return isinstance(node, fx.Node) and isinstance(self.module.get(node), kinds)

    def _float_reason(self, node: fx.Node) -> str | None:
        """Why this node cannot run on integers whatever its surroundings; None if it can."""
        module = self.module[node]
        if isinstance(module, nn.Conv2d):
            return None if module.padding_mode == "zeros" else f"padding mode {module.padding_mode} has no integer kernel"
        if isinstance(module, nn.Linear):
            rank = len(node.args[0].meta["shape"])  # type: ignore[union-attr]
            return None if rank == 2 else f"a linear layer over {rank} axes becomes MatMul, which is not quantized"
        if isinstance(module, (*_COMPUTE, *ops.MOVES, nn.ReLU)) or self._is_clip(node):
            return None
        if isinstance(module, nn.Hardtanh):
            return "a clip whose lower end is not zero has no integer form"
        kind = type(module).__name__ if module is not None else getattr(node.target, "__name__", str(node.target))
        return f"{kind} has no integer kernel that onnxruntime fuses"

    def _is_clip(self, node: fx.Node) -> bool:
        module = self.module[node]
        return isinstance(module, nn.Hardtanh) and module.min_val == 0

    def _is_clamp(self, node: fx.Node) -> bool:
        return self._is(node, (nn.ReLU,)) or self._is_clip(node)

    def _clamp_behind(self, node: fx.Node) -> fx.Node | None:
        """The ReLU or Clip that is part of this node's compute group: its only reader."""
        users = list(node.users)
        computes = self._quantized_layer(node) or self._is(node, _COMPUTE)
        return users[0] if computes and len(users) == 1 and self._is_clamp(users[0]) else None

    def _runs_on_integers(self, node: fx.Node) -> bool:
        if node.op != "call_module" or self._float_reason(node) is not None:
            return False
        return self._quantized_layer(node) or self.wanted[node]

    def _has_site(self, node: fx.Node) -> bool:
        """Outputs of compute groups, and every tensor that something on integers reads. A linear layer's logits stay float."""
        if node.op in ("output", "get_attr") or not node.meta.get("float") or self.fused[node] is not None:
            return False
        if self._quantized_layer(self._before_clamp(node)) and not self._is(self._before_clamp(node), (nn.Linear,)):
            return True
        return self.wanted[node]

    def _before_clamp(self, node: fx.Node) -> fx.Node:
        before = node.args[0] if node.args else None
        return before if isinstance(before, fx.Node) and self._is_clamp(node) and self.fused[before] is node else node

    def _shared(self, placed: set[fx.Node]) -> _Union:
        """Join both ends of moves, and concatenations with those inputs that are bounded as the whole is.

        A ReLU's output joined to signed values would get zero point 128, which does not imply the ReLU: onnxruntime then leaves
        the convolution before it in float. Such an input keeps its own grid, and the concatenation rescales it.
        """
        union = _Union()
        for node in self.nodes:
            if node not in placed or not self._is(node, (*ops.MOVES, ops.Concat)):
                continue
            for source in node.args:
                if isinstance(source, fx.Node) and source in placed and self.bound[source] == self.bound[node]:
                    union.join(node, source)
        return union

    def _insert(self, node: fx.Node) -> Site:
        name = "input" if node.op == "placeholder" else str(node.target) if node.op == "call_module" else node.name
        site = Site(name)
        target = f"site_{name.replace('.', '_')}"
        if hasattr(self.graph, target):  # "a.b" and "a_b" are two layers
            target += f"_{node.name}"
        self.graph.add_submodule(target, site)
        with self.graph.graph.inserting_after(node):
            inserted = self.graph.graph.call_module(target, (node,))
        inserted.meta = dict(node.meta)
        node.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)
        return site

    def _group(self, nodes: list[fx.Node], site: Mapping[fx.Node, Site]) -> Group:
        repeats = {node for node in nodes if self._is(node, (*ops.MOVES, ops.Concat)) and self.sources[node] <= set(nodes)}
        new = [node for node in nodes if node not in repeats]
        bounds = [self.bound[node] for node in new or nodes]
        limits = [bound.limit for bound in bounds if bound.limit is not None]
        return Group(
            sites=tuple(site[node] for node in nodes),
            watched=tuple(site[node] for node in new or nodes),
            known=(0.0, 1.0) if new and all(self._is_gate(node) for node in new) else None,
            limit=max(limits) if len(limits) == len(bounds) else None,
            non_negative=all(bound.non_negative for bound in bounds),
            tailed=all(bound.non_negative or self.tailed[node] for bound, node in zip(bounds, new or nodes, strict=True)),
        )

    def _is_gate(self, node: object) -> bool:
        module = self.module.get(node) if isinstance(node, fx.Node) else None
        return isinstance(module, _GATES) or (isinstance(module, nn.Hardtanh) and (module.min_val, module.max_val) == (0.0, 1.0))

    def _is_tailed(self, node: fx.Node) -> bool:
        """x * gate(x): HardSwish or SiLU."""
        if not self._is(node, (ops.Mul,)):
            return False
        x, gate = node.args
        return isinstance(gate, fx.Node) and self._is_gate(gate) and gate.args[0] is x

    def _bound(self, node: fx.Node) -> Bound:
        """By construction, not by luck of the calibration images."""
        if self._is_gate(node):
            return Bound(True, 1.0)
        if self._is_clamp(node):
            return Bound(True, getattr(self.module[node], "max_val", None))
        sources = [self.bound[arg] for arg in node.args if isinstance(arg, fx.Node)]
        if self._is(node, (*ops.MOVES, ops.Concat)):
            limits = [source.limit for source in sources if source.limit is not None]
            limit = max(limits) if len(limits) == len(sources) else None
            return Bound(all(source.non_negative for source in sources), limit)
        passes_sign = self._is(node, (ops.Add, ops.Mul, ops.GlobalAvgPool, nn.AvgPool2d))
        return Bound(passes_sign and all(source.non_negative for source in sources), None)

    def _layer(self, node: fx.Node, site: Mapping[fx.Node, Site]) -> Layer:
        (marker,) = (arg for arg in node.args if isinstance(arg, fx.Node))
        source = marker.args[0]
        op = "Conv" if self._is(node, (nn.Conv2d,)) else "Gemm"
        return Layer(str(node.target), op, site[source], site.get(self.fused[node] or node))  # type: ignore[index]

    def _floats(self) -> list[dict[str, str]]:
        """Everything that computes and stays float, but for what turns a quantized layer's output into logits."""
        listed = []
        for node in self.nodes:
            if node.op not in ("call_module", "call_function", "call_method") or not node.meta.get("computes"):
                continue
            if node.target is operator.getitem and node.args[0].meta["shape"] is None:
                continue  # one of several results
            reason = self._float_reason(node)
            if reason is None and not self.reads_integers[node] and self._is(node, _COMPUTE):
                reason = "only float ops or the logits read its result"
            if reason is not None:
                listed.append({"layer": str(node.target) if node.op == "call_module" else node.name, "reason": reason})
        return listed
