"""Post-training quantization: trace, place, calibrate; then the float net, simulations of the int8 files, the marked graph."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgekd.core import InputError, IntegrityError
from edgekd.quant.candidates import TrialImages, best
from edgekd.quant.equalise import chains, equalise, unclip
from edgekd.quant.fakequant import FAMILY, WEIGHT_LEVELS, Grid, fake_quantize_weight, round_bias, weight_scale
from edgekd.quant.observer import Observer
from edgekd.quant.qat import trainable
from edgekd.quant.sites import Group, Placement, Site, place
from edgekd.quant.trace import prepare

SCHEMA = 2


class Quantized:
    """A network with its sites and their grids. ``sites`` is the table of ``edgekd.quant.sites``; write it as sites.json.

    candidates: what ``quantize`` tried, [{"name", "sqnr_db": {flavour: dB}, "chosen": bool}].
    """

    def __init__(self, graph: fx.GraphModule, placement: Placement, sites: dict[str, Any], floating: fx.GraphModule) -> None:
        self._graph, self._placement, self._floating = graph, placement, floating
        self.sites = sites
        self.candidates: list[dict[str, Any]] = []

    @property
    def float_layers(self) -> list[dict[str, str]]:
        """[{"layer", "reason"}]: what stays float on purpose."""
        return [dict(one) for one in self.sites["float"]]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width the network was traced at."""
        height, width = self.sites["input"]["image_size"]
        return int(height), int(width)

    def state_dict(self) -> dict[str, Tensor]:
        """The folded weights before rounding, contiguous, by the names the ONNX files use."""
        return {name: value.detach().contiguous() for name, value in self._graph.state_dict().items()}

    def with_weights(self, state: Mapping[str, Tensor]) -> Quantized:
        """The same sites and grids around other weights, named as in ``state_dict``: corrected, or trained."""
        graph = copy.deepcopy(self._graph)
        graph.load_state_dict(dict(state))
        made = Quantized(graph, self._placement, self.sites, self._floating)
        made.candidates = self.candidates
        return made

    def trainable(self) -> nn.Module:
        """A copy to train, in train mode, that rounds as the file of the flavour last given to ``quant.use`` (at first fp32).

        Its state_dict has the names ``with_weights`` takes. In eval mode it answers as ``simulate(flavour)`` does, to the bit.
        """
        scales = {layer.name: layer.input.grids["ort"].scale for layer in self._placement.layers}
        return trainable(copy.deepcopy(self._graph), scales)

    def floating(self) -> nn.Module:
        """The float network this was made from, batch norms folded: float32 [N,3,H,W] -> logits float32 [N,C]."""
        return copy.deepcopy(self._floating).requires_grad_(False)

    def simulate(self, flavour: str = "ort") -> nn.Module:
        """What the file of ``flavour`` ("ort", "ort-w7" or "trt") computes op by op, in float32.

        Weights and sites are on their grids; biases too, but for TensorRT, where they are float.

        The reference is an un-optimised onnxruntime session; an optimised one computes in integers and rounds a little
        differently.
        """
        if flavour not in WEIGHT_LEVELS:
            raise InputError("no such int8 flavour", seen=flavour, fix=f"one of {', '.join(WEIGHT_LEVELS)}")
        levels = WEIGHT_LEVELS[flavour]
        graph = self._in_mode(FAMILY[flavour])
        with torch.no_grad():
            for layer in self._placement.layers:
                module: Any = graph.get_submodule(layer.name)
                input_scale = layer.input.grids["ort"].scale
                bias = None if flavour == "trt" else module.bias
                scale_C = weight_scale(module.weight, bias, input_scale, levels)
                module.weight.copy_(fake_quantize_weight(module.weight, scale_C, levels))
                if bias is not None:
                    bias.copy_(round_bias(bias, scale_C, input_scale))
        return graph

    def for_export(self) -> nn.Module:
        """The float network of ``floating()`` with a marker op ``edgekd::Site`` at every site; only for ``torch.onnx.export``."""
        graph = copy.deepcopy(self._floating)
        for group in place(graph).groups:
            for site in group.sites:
                site.mode = "mark"
        return graph.requires_grad_(False)

    def _in_mode(self, mode: str) -> fx.GraphModule:
        graph = copy.deepcopy(self._graph)
        for module in graph.modules():
            if isinstance(module, Site):
                module.mode = mode
        return graph.eval().requires_grad_(False)


def quantize(model: nn.Module, calibration: Iterable[Tensor], flavours: Sequence[str] = ("ort", "ort-w7")) -> Quantized:
    """Quantize ``model`` after training: 8-bit activations in ranges of least squared error, int8 weights per output channel.

    model: any float network images -> logits; it is copied, not changed. calibration: batches float32 [B,3,H,W] of training
    images under the validation transform, all of one size; read once (128 to 512 images are enough). flavours: the int8 files
    it is for; of the candidates (``edgekd.quant.candidates``) the one that serves them best is returned, for none the plain one.
    Raises InputError: no images, images or activations that are not finite or change size, a network that cannot be traced.
    """
    drafts: dict[str, _Draft] = {}
    trial = TrialImages()
    with torch.inference_mode():
        for images in _checked(calibration):
            drafts = drafts or _drafts(model, tuple(images.shape[1:]), candidates=bool(flavours))
            for draft in drafts.values():
                draft.graph(images)
            trial.see(images)
    if not drafts:
        raise InputError("no calibration images", where="quantize", fix="raise quantize.calibration_images")
    made = {name: draft.quantized() for name, draft in drafts.items()}
    if not flavours:
        return made["plain"]
    return best(made, trial.chosen(), flavours)


def restore(model: nn.Module, state: Mapping[str, Tensor], sites: Mapping[str, Any]) -> Quantized:
    """The same Quantized again, from ``state_dict()`` and ``sites``; ``model`` has the same architecture.

    Any weights will do for ``model``, but only with those it was made from is ``floating()`` the same again.
    Raises IntegrityError: weights, table and architecture do not belong together.
    """
    try:
        shape = (int(sites["input"]["channels"]), *(int(side) for side in sites["input"]["image_size"]))
        floating = _prepared(model, shape)
        graph = copy.deepcopy(floating)
        unclip(graph, sites["unclipped"])
        placement = place(graph)
        graph.load_state_dict(dict(state))
        _apply(placement, sites)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        what = "weights and site table do not belong to this network"
        raise IntegrityError(what, where=type(model).__name__, seen=str(error).splitlines()[0][:200]) from error
    return Quantized(graph, placement, dict(sites), floating)


def _prepared(model: nn.Module, shape: tuple[int, ...]) -> fx.GraphModule:
    with torch.inference_mode(False):
        return prepare(model, (shape[1], shape[2]), shape[0])


def _checked(calibration: Iterable[Tensor]) -> Iterator[Tensor]:
    shape: tuple[int, ...] = ()
    for images in calibration:
        if images.dim() != 4 or images.dtype != torch.float32 or not len(images):
            raise InputError("calibration batches must be float32 [B,C,H,W]", seen=f"{images.dtype} {tuple(images.shape)}")
        shape = shape or tuple(images.shape[1:])
        if tuple(images.shape[1:]) != shape:
            raise InputError("calibration images change size", seen=f"{shape} then {tuple(images.shape[1:])}")
        yield images


def _drafts(model: nn.Module, shape: tuple[int, ...], *, candidates: bool) -> dict[str, _Draft]:
    """The graphs to watch, by name: the network as it is and, if wanted and there is anything to equalise, equalised."""
    prepared = _prepared(model, shape)
    drafts = {"plain": _Draft(copy.deepcopy(prepared), prepared, shape)}
    if candidates and chains(prepared):
        equalised = copy.deepcopy(prepared)
        clips = equalise(equalised)
        drafts["equalised"] = _Draft(equalised, prepared, shape, clips)
    return drafts


class _Draft:
    """A network whose activations are being watched, until they are quantized."""

    def __init__(
        self, graph: fx.GraphModule, floating: fx.GraphModule, shape: tuple[int, ...], unclipped: tuple[str, ...] = ()
    ) -> None:
        with torch.inference_mode(False):
            self.placement = place(graph)
        self.graph, self.floating, self.shape, self.unclipped = graph, floating, shape, unclipped
        self.observers = _watch(self.placement)

    def quantized(self) -> Quantized:
        ranges = [_range(group, observer) for group, observer in self.observers]
        table = _table(self.placement, ranges, self.shape) | {"unclipped": list(self.unclipped)}
        _apply(self.placement, table)
        return Quantized(self.graph, self.placement, table, self.floating)


def _watch(placement: Placement) -> list[tuple[Group, Observer]]:
    observers = []
    for group in placement.groups:
        observer = Observer()
        observers.append((group, observer))
        for site in group.watched:
            site.observer, site.mode = observer, "watch"
    return observers


def _range(group: Group, observer: Observer) -> dict[str, Any]:
    """The entry of the site table that a group's sites share, but for their names."""
    name = group.sites[0].name
    for site in group.watched:
        site.observer, site.mode = None, "pass"
    if not np.isfinite([observer.low, observer.high]).all():
        fix = "look at the calibration images and the network's weights for NaN or infinity"
        raise InputError("activations are not finite", where=name, fix=fix)
    if group.known is not None:
        low, high = group.known
        return _entry(low, high, signed=False, known=True)
    if group.non_negative or observer.low >= 0:
        return _entry(0.0, observer.clipping(steps_per_range=255, limit=group.limit), signed=False)
    if group.tailed:
        return _entry(observer.low, observer.clipping(steps_per_range=255, low=observer.low), signed=False)
    whole = name == "input"  # every image has its white and its black: clip nothing
    end = max(-observer.low, observer.high) if whole else observer.clipping(steps_per_range=127)
    return _entry(-end, end, signed=True)


def _entry(low: float, high: float, *, signed: bool, known: bool = False) -> dict[str, Any]:
    grid = Grid.of(low, high, signed)
    return {
        "low": low,
        "high": high,
        "signed": signed,
        "known_range": known,
        "scale": grid.scale,
        "zero_point": grid.zero_point,
    }


def _table(placement: Placement, ranges: list[dict[str, Any]], shape: tuple[int, ...]) -> dict[str, Any]:
    groups = [[site.name for site in group.sites] for group in placement.groups]
    entries = {name: entry for names, entry in zip(groups, ranges, strict=True) for name in names}
    reach = {name: max(-entry["low"], entry["high"]) for name, entry in entries.items()}
    for together in placement.tensorrt:
        reach.update(dict.fromkeys([site.name for site in together], max(reach[site.name] for site in together)))
    in_tensorrt = {site.name for together in placement.tensorrt for site in together}
    return {
        "schema": SCHEMA,
        "input": {"channels": shape[0], "image_size": list(shape[1:])},
        "sites": [
            {
                "name": name,
                **entries[name],
                "group": number,
                "flavours": ["ort", "trt"] if name in in_tensorrt else ["ort"],
                "trt_scale": Grid.of(-reach[name], reach[name], signed=True).scale,
            }
            for number, names in enumerate(groups)
            for name in names
        ],
        "groups": [names for names in groups if len(names) > 1],
        "layers": [
            {
                "layer": layer.name,
                "op": layer.op,
                "input": layer.input.name,
                "output": layer.output.name if layer.output else None,
            }
            for layer in placement.layers
        ],
        "float": [dict(one) for one in placement.floats],
        "weights": dict(WEIGHT_LEVELS),
    }


def _apply(placement: Placement, table: Mapping[str, Any]) -> None:
    grids = {entry["name"]: _grids(entry) for entry in table["sites"]}
    sites = {site.name: site for group in placement.groups for site in group.sites}
    if grids.keys() != sites.keys():
        raise KeyError(f"sites {sorted(grids.keys() ^ sites.keys())[:5]} are in one of network and table only")
    for name, site in sites.items():
        site.grids = grids[name]


def _grids(entry: Mapping[str, Any]) -> dict[str, Grid]:
    every = {
        "ort": Grid(float(entry["scale"]), int(entry["zero_point"])),
        "trt": Grid(float(entry["trt_scale"]), 128),
    }
    return {family: every[family] for family in entry["flavours"]}
