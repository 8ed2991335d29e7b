"""The outside yardstick: the same float file quantized by onnxruntime's own tool, as a careful user of that would do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quant_pre_process, quantize_static

from edgekd.core import EdgekdError
from edgekd.export.cpu import exact_sums

_BATCH = 64
_ITS_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, onnx.checker.ValidationError,
    runtime.Fail, runtime.InvalidArgument, runtime.InvalidGraph, runtime.NotImplemented, runtime.RuntimeException,
)  # fmt: skip


def stock_int8(fp32: Path, images: NDArray[np.float32], path: Path) -> Path:
    """Write ``path``: ``fp32`` pre-processed and quantized by ``quantize_static``.

    Q/DQ, weights per channel, u8 activations in min-max ranges. Weights have 7 bits where this CPU adds products of u8 and s8 in
    16 bits. images: float32 [N,3,H,W] to calibrate on. Raises EdgekdError: the tool failed on this network.
    """
    try:
        with TemporaryDirectory(dir=path.parent, prefix=".stock-") as place:
            prepared = Path(place) / "prepared.onnx"
            quant_pre_process(str(fp32), str(prepared))
            quantize_static(
                str(prepared), str(path), _Images(images, *_input_of(fp32)), per_channel=True, reduce_range=not exact_sums(),
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
    except _ITS_ERRORS as error:
        seen = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise EdgekdError("onnxruntime's quantize_static failed", where=fp32.name, seen=seen) from error
    return path


def _input_of(path: Path) -> tuple[str, int]:
    """Name and batch of the one input; a free batch is taken to be large."""
    (value,) = onnx.load(str(path)).graph.input
    return value.name, value.type.tensor_type.shape.dim[0].dim_value or _BATCH


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: NDArray[np.float32], name: str, batch: int) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(np.split(images, range(batch, len(images), batch)))
        self._name = name

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: np.ascontiguousarray(batch)}
