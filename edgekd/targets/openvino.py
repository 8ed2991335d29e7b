"""OpenVINO on a CPU target: which of the exported files it is to run. What it does with one is ``device/backend_openvino.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import edgekd.device
from edgekd.device import flavour_for
from edgekd.targets.cpu_runtime import CpuRuntime


def _int8_flavour(identity: Mapping[str, Any], gated: bool) -> str:
    """It joins x * sigmoid(x) to the convolution before it only where nothing lies between, as in TensorRT's file; with 8-bit
    weights its sums saturate on the same CPUs as onnxruntime's, whichever file it is."""
    own = flavour_for(dict(identity))
    return "trt" if gated and own == "ort" else own


RUNTIME = CpuRuntime(
    packages=("openvino",),
    backend=Path(edgekd.device.__file__).with_name("backend_openvino.py"),
    int8_flavour=_int8_flavour,
    flavours=("trt",),
)
