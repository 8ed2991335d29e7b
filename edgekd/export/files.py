"""Write the flavours of a network, each checked by loading it; and list which layers each flavour runs in int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edgekd.core.files import write_atomic
from edgekd.export.flavours import WEIGHT_BITS, flavour
from edgekd.export.marked import WEIGHTED
from edgekd.export.sessions import session


def write(
    marked: ModelProto,
    state: Mapping[str, Any],
    sites: Mapping[str, Any],
    folder: Path,
    flavours: Sequence[str],
    oldest_tensorrt: str | None = None,
) -> dict[str, Path]:
    """Write ``student.<flavour>.onnx`` for each of ``flavours``; each has loaded in onnxruntime. Returns flavour -> path.

    The other arguments are those of ``flavour``, and so are the errors.
    """
    paths = {}
    for name in flavours:
        content = flavour(marked, state, sites, name, oldest_tensorrt).SerializeToString(deterministic=True)
        for optimised in (False, True)[: 1 if name.endswith("fp16") else 2]:  # float16 is not for this runtime
            session(content, optimised=optimised)
        paths[name] = folder / f"student.{name}.onnx"
        write_atomic(paths[name], content)
    return paths


def layers(marked: ModelProto, sites: Mapping[str, Any], flavours: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every weighted layer by flavour: {"layer", "op", "precision": "int8" | "fp16" | "fp32", "reason": why float, or null}."""
    quantized = {entry["layer"] for entry in sites["layers"]}
    reasons = {entry["layer"]: entry["reason"] for entry in sites["float"]}
    weighted = [node for node in marked.graph.node if node.op_type in WEIGHTED]

    def row(name: str, op: str, flavour: str) -> dict[str, Any]:
        if flavour in WEIGHT_BITS and name in quantized:
            return {"layer": name, "op": op, "precision": "int8", "reason": None}
        why = (
            reasons.get(name.partition("/")[0], "not a layer placement knows")
            if flavour in WEIGHT_BITS
            else "this flavour is float"
        )
        return {"layer": name, "op": op, "precision": "fp16" if flavour.endswith("fp16") else "fp32", "reason": why}

    return {flavour: [row(node.name, node.op_type, flavour) for node in weighted] for flavour in flavours}
