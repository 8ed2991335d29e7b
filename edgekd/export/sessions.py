"""onnxruntime sessions on this host, for parity: the file as written, or optimised; never for timing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from edgekd.core import InputError
from edgekd.export.cpu import exact_sums

# What onnxruntime raises; each of its own derives from Exception alone.
REFUSALS: tuple[type[Exception], ...] = (
    *(one for one in vars(runtime).values() if isinstance(one, type) and issubclass(one, Exception)), RuntimeError, ValueError,
)  # fmt: skip


def session(model: Path | bytes, *, optimised: bool, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session. optimised=False runs every op as written, in float between DequantizeLinear and QuantizeLinear: the
    reference.

    An optimised 8-bit model on an x86 without VNNI runs with ``session.x64quantprecision``, so that its sums are right, if
    slower.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    if not exact_sums():
        options.add_session_config_entry("session.x64quantprecision", "1")
    source: Any = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def open_model(model: Path, *, optimised: bool, threads: int = 1, more: bytes = b"") -> onnxruntime.InferenceSession:
    """The session of a file of any origin. more: protobuf behind the file's bytes. Raises InputError: onnxruntime refuses it."""
    try:
        return session(model.read_bytes() + more, optimised=optimised, threads=threads)
    except REFUSALS as error:
        raise refused(model, error) from error


def refused(model: Path, error: Exception) -> InputError:
    return InputError("onnxruntime refuses the model", where=str(model), seen=" ".join(str(error).split())[:300])


def run_onnx(path: Path, inputs: NDArray[np.float32], *, optimised: bool, threads: int = 1) -> NDArray[np.float32]:
    """Logits float32 [N,C] of ``inputs`` float32 [N,3,H,W].

    Raises InputError: no images, images the model does not take, a model that onnxruntime refuses or that has other outputs.
    """
    if inputs.ndim != 4 or not len(inputs):
        raise InputError("a model needs images [N,C,H,W]", where=str(path), seen=f"{inputs.shape}")
    running = open_model(path, optimised=optimised, threads=threads)
    wanted = running.get_inputs()[0]
    if list(inputs.shape[1:]) != list(wanted.shape[1:]):
        raise InputError(
            "images of another shape than the model takes", where=str(path), seen=f"{inputs.shape}, not {wanted.shape}"
        )
    batch = wanted.shape[0] if isinstance(wanted.shape[0], int) else 64
    short = -len(inputs) % batch if isinstance(wanted.shape[0], int) else 0
    padded = np.concatenate([inputs, inputs[-1:].repeat(short, 0)]) if short else inputs
    parts = [np.ascontiguousarray(padded[start : start + batch]) for start in range(0, len(padded), batch)]
    try:
        logits = np.concatenate([running.run(None, {wanted.name: part})[0] for part in parts])[: len(inputs)]
    except REFUSALS as error:
        raise refused(path, error) from error
    if logits.ndim != 2 or len(logits) != len(inputs):
        raise InputError("the model does not give one row of logits an image", where=str(path), seen=f"{logits.shape}")
    return logits
