"""What a runtime really executes, counted: an int8 model that computes in float is not an int8 model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# onnxruntime's names for convolutions and matrix products, plain and after its own fusions and layout changes; at the end what
# TensorRT's layers are called where they may hold some: see tensorrt/layers.py.
_HEAVY = frozenset(
    {
        "Conv", "FusedConv", "NhwcFusedConv", "NhwcConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul",
        "TransposeMatMul", "Einsum", "Attention", "MultiHeadAttention", "Myelin", "unknown",
    }
)  # fmt: skip
# onnxruntime's own names for them where it computes in integers, whatever type their first input has.
_INTEGERS = frozenset(
    {
        "QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
        "QAttention",
    }
)  # fmt: skip
_FLOATS = frozenset({"float", "float16", "double", "bfloat16", "float8", "float4"})


def float_layers(layers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the executed layers that are convolutions or matrix products in floating point.

    layers: what the agent's ``build`` says was executed: {"op", "name", "provider", "dtype"}; a dtype that is not known
    counts as floating point.
    """
    return [layer for layer in layers if layer["op"] in _HEAVY and (layer["dtype"] is None or layer["dtype"] in _FLOATS)]


def int8_layers(layers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that are convolutions or matrix products in 8-bit integers; layers: as for ``float_layers``."""
    eight = ("int8", "uint8")
    return [layer for layer in layers if layer["op"] in _INTEGERS or (layer["op"] in _HEAVY and layer["dtype"] in eight)]
