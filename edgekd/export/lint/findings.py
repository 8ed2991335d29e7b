"""All rules asked of one file; which layers stay float, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto

from edgekd.export.lint.graph import DEQUANTIZE, QUANTIZE, WEIGHTED, Graph
from edgekd.export.lint.islands import why_float
from edgekd.export.lint.rule import RULES, RUNTIMES, Finding, Purpose
from edgekd.export.tensorrt_reads import version_of

_OF_ONNXRUNTIME = ("fp32", "ort", "ort-w7")
_HALF_INT8 = (10, 0)  # the first TensorRT that is given trt-fp16


def findings(model: ModelProto, purposes: Sequence[Purpose]) -> list[Finding]:
    """What each rule finds for each purpose; errors first, then in the order of the rules."""
    graph = Graph(model)
    found: dict[tuple[str, str, str], Finding] = {}
    for name, rule in RULES.items():
        for purpose in purposes:
            if purpose.runtime not in rule.runtimes:
                continue
            for node, seen in rule.find(graph, purpose):
                finding = Finding(name, rule.severity_in(graph), node, seen, rule.means, rule.fix)
                found.setdefault((name, node, seen), finding).runtimes.append(purpose.runtime)
    return sorted(found.values(), key=lambda one: one.severity)


def purposes_of(model: ModelProto) -> tuple[list[Purpose], str]:
    """Whom the file is for, as it says or shows itself, and by what that is known."""
    graph = Graph(model)
    if graph.flavour:
        runtime = "onnxruntime" if graph.flavour in _OF_ONNXRUNTIME else "tensorrt"
        return [Purpose(runtime)], f"its flavour is {graph.flavour}"
    pairs = [graph.grid(node) for node in graph.of(QUANTIZE, DEQUANTIZE) if not graph.rounds_a_constant(node)]
    if not pairs:
        return [Purpose(runtime) for runtime in RUNTIMES], "it rounds no activation"
    if all(one.type == TensorProto.INT8 and one.zero is not None and not one.zero.any() for one in pairs):
        return [Purpose("tensorrt")], "its activations are int8 with zero point 0"
    return [Purpose("onnxruntime")], "its activations are not int8 with zero point 0"


def layers(model: ModelProto, purposes: Sequence[Purpose]) -> list[dict[str, Any]]:
    """Every convolution and matrix product, as the file asks for it: {"name", "op", "precision": "int8" | "float", "reason": why
    float, or None}. What a runtime makes of it only the runtime says."""
    graph = Graph(model)
    runtime = purposes[0].runtime if len(purposes) == 1 else ""
    weighted = [(node, why_float(graph, node, runtime)) for node in graph.of(*WEIGHTED)]
    already = [
        node for node in graph.nodes if node.op_type in ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger")
    ]
    rows = [(node, "float" if why else "int8", why) for node, why in weighted] + [(node, "int8", None) for node in already]
    return [
        {"name": graph.name(node), "op": node.op_type, "precision": precision, "reason": why} for node, precision, why in rows
    ]


def own_findings(paths: Mapping[str, Path], oldest_tensorrt: str | None) -> dict[str, list[Finding]]:
    """Of edgekd's own files, by flavour: each for the runtime it was made for."""

    def purpose(flavour: str) -> Purpose:
        if flavour in _OF_ONNXRUNTIME:
            return Purpose("onnxruntime")
        if flavour == "trt-fp16" and oldest_tensorrt and version_of(oldest_tensorrt) < _HALF_INT8:
            return Purpose("tensorrt", "{}.{}".format(*_HALF_INT8))
        return Purpose("tensorrt", oldest_tensorrt)

    return {flavour: findings(onnx.load(str(path)), [purpose(flavour)]) for flavour, path in paths.items()}
