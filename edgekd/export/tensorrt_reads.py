"""The newest ONNX opset that a version of TensorRT reads. Without torch and onnx."""

from __future__ import annotations

from edgekd.core import InputError

# TensorRT from this version on: what its parser's list of operators says (onnx-tensorrt, docs/operators.md of each release).
_READS = (((8, 0), 13), ((8, 5), 17), ((10, 0), 20), ((10, 15), 24))
NEWEST = _READS[-1][1]


def version_of(tensorrt: str) -> tuple[int, int]:
    """(8, 5) of "8.5" and of "8.5.2.1"; (0, 0) of what is no version."""
    parts = tensorrt.split(".")
    if not all(part.isdecimal() for part in parts):
        return 0, 0
    major, minor = (int(part) for part in (*parts, "0")[:2])
    return major, minor


def newest_read_by(tensorrt: str) -> int:
    """The newest opset that this TensorRT ("8.5") and all later ones read.

    Raises InputError: no version of TensorRT with explicit quantization.
    """
    reads = [opset for first, opset in _READS if version_of(tensorrt) >= first]
    if not reads:
        raise InputError("no TensorRT that reads quantized ONNX files", seen=tensorrt, fix="8.0 or newer, such as 8.5")
    return reads[-1]
