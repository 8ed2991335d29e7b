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


def run_onnx(path: Path, inputs: NDArray[np.float32], *, optimised: bool, threads: int = 1) -> NDArray[np.float32]:
    """Logits float32 [N,C] of ``inputs`` float32 [N,3,H,W]. Raises InputError: no images, or images the model does not take."""
    if inputs.ndim != 4 or not len(inputs):
        raise InputError("a model needs images [N,C,H,W]", where=str(path), seen=f"{inputs.shape}")
    running = session(path, optimised=optimised, threads=threads)
    wanted = running.get_inputs()[0]
    if list(inputs.shape[1:]) != list(wanted.shape[1:]):
        raise InputError(
            "images of another shape than the model takes", where=str(path), seen=f"{inputs.shape}, not {wanted.shape}"
        )
    batch = wanted.shape[0] if isinstance(wanted.shape[0], int) else 64
    parts = [inputs[start : start + batch] for start in range(0, len(inputs), batch)]
    return np.concatenate([running.run(None, {wanted.name: np.ascontiguousarray(part)})[0] for part in parts])
