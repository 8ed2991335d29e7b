"""Export: one float graph with markers, and the flavours made from it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.export.cpu import exact_sums
    from edgekd.export.files import layers, write
    from edgekd.export.flavours import FLAVOURS, flavour
    from edgekd.export.gates import gated
    from edgekd.export.half import beyond_half
    from edgekd.export.inner import inner_sites, inner_tensors
    from edgekd.export.marked import float_export
    from edgekd.export.sessions import run_onnx
    from edgekd.export.stock import stock_int8

__all__ = [
    "FLAVOURS",
    "beyond_half",
    "exact_sums",
    "flavour",
    "float_export",
    "gated",
    "inner_sites",
    "inner_tensors",
    "layers",
    "run_onnx",
    "stock_int8",
    "write",
]

_HOME = {  # torch and onnx load only when a name that needs them is used
    "FLAVOURS": "flavours",
    "beyond_half": "half",
    "exact_sums": "cpu",
    "flavour": "flavours",
    "float_export": "marked",
    "gated": "gates",
    "inner_sites": "inner",
    "inner_tensors": "inner",
    "layers": "files",
    "run_onnx": "sessions",
    "stock_int8": "stock",
    "write": "files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgekd.export.{_HOME[name]}"), name)
