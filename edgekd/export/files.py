"""Write every flavour of a network, checked by loading it; and list which layers each flavour runs in int8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edgekd.core.files import write_atomic
from edgekd.export.flavours import FLAVOURS, flavour
from edgekd.export.marked import WEIGHTED
from edgekd.export.sessions import session


def write(marked: ModelProto, sites: Mapping[str, Any], folder: Path, stem: str = "student") -> dict[str, Path]:
    """Write ``<stem>.<flavour>.onnx`` for every flavour; each has loaded in onnxruntime. Returns flavour -> path."""
    paths = {}
    for name in FLAVOURS:
        content = flavour(marked, sites, name).SerializeToString(deterministic=True)
        for optimised in (False, True):
            session(content, optimised=optimised)
        paths[name] = folder / f"{stem}.{name}.onnx"
        write_atomic(paths[name], content)
    return paths


def layers(marked: ModelProto, sites: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Every weighted layer by flavour: {"layer", "op", "precision": "int8" | "fp32", "reason": why float, or null}."""
    quantized = {entry["layer"] for entry in sites["layers"]}
    reasons = {entry["layer"]: entry["reason"] for entry in sites["float"]}
    listed: dict[str, list[dict[str, Any]]] = {}
    for name in FLAVOURS:
        listed[name] = []
        for node in marked.graph.node:
            if node.op_type not in WEIGHTED:
                continue
            layer = node.name
            is_int8 = name != "fp32" and layer in quantized
            why = (
                None
                if is_int8
                else "this flavour is float"
                if name == "fp32"
                else reasons.get(layer, "not a layer placement knows")
            )
            listed[name].append({"layer": layer, "op": node.op_type, "precision": "int8" if is_int8 else "fp32", "reason": why})
    return listed
