"""The waterfalls of an export: each int8 file from the fp32 student in torch to the optimised session, on the held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import export, quant, targets
from edgekd.stages.apart import apart
from edgekd.stages.waterfall import Execution, waterfall

_LOOKED_INTO = 16  # images whose inner tensors are compared
_STEPS = ("fp32 in torch", "8 bits simulated in torch", "onnxruntime, every node as written", "onnxruntime, optimised")


def waterfalls(
    quantized: quant.Quantized,
    paths: Mapping[str, Path],
    answers: Mapping[str, NDArray[np.float32]],
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, float | None]]]]:
    """One for each int8 flavour of ``paths``, and by flavour the SQNR in dB of every site at each hop; null where not finite.

    answers: logits of the images ``inputs``, float32 [N,3,H,W], by "fp32" and flavour in torch, by "<flavour>.onnx" as written.
    Of the first hop the tensors are those of the weights that were rounded, before and after: equalising, corrected biases and
    training make other tensors of the same logits. Files of TensorRT are not optimised by onnxruntime in any way that counts.
    """
    made, every = [], {}
    for flavour in targets.INT8_FLAVOURS:
        if flavour in paths:
            logits = [answers["fp32"], answers[flavour], answers[f"{flavour}.onnx"]]
            if flavour != "trt":
                logits.append(export.run_onnx(paths[flavour], inputs, optimised=True))
            inner = _inner(quantized, paths[flavour], flavour, inputs, len(logits))
            every[flavour] = [{name: round(db, 2) if isfinite(db) else None for name, db in hop.items()} for hop in inner]
            executions = [Execution(*one) for one in zip(_STEPS, logits, strict=False)]
            made.append(waterfall(flavour, "held-out", labels, executions, inner))
    return made, every


def _inner(
    quantized: quant.Quantized, path: Path, flavour: str, inputs: NDArray[np.float32], steps: int
) -> list[dict[str, float]]:
    plain, rounded = quantized.trainable().eval(), quantized.trainable().eval()
    quant.use(rounded, flavour)
    files = [export.inner_sites(path, optimised=optimised) for optimised in (False, True)[: steps - 2]]
    chosen = inputs[:: max(1, len(inputs) // _LOOKED_INTO)][:_LOOKED_INTO]
    return apart([quant.inner_sites(plain), quant.inner_sites(rounded), *files], (one[None] for one in chosen))
