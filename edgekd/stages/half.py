"""Float16 on TensorRT: does it hold a network's values, and what does the network answer in it?

This host's onnxruntime cannot say: it computes float16 files in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import targets
from edgekd.core import InputError
from edgekd.recipe import TargetSpec

_COMPUTES = {"fp16": "fp32", "int8+fp16": "trt"}  # an engine's precision, and the flavour whose float side it has in float16


def overflow_of(specs: Mapping[str, TargetSpec], beyond_half: Callable[[str], str | None]) -> str | None:
    """Why no target gets a float16 engine to compare with, or None.

    beyond_half: tells of a flavour by name which value float16 cannot hold. Raises InputError: a target's own precision is
    float16, with the file or by an option of TensorRT, and the network overflows it.
    """
    built = {one.precision for spec in specs.values() if spec.runtime == "tensorrt" for one in targets.engines(spec)}
    found = {precision: beyond_half(flavour) for precision, flavour in _COMPUTES.items() if precision in built}
    for name, spec in specs.items():
        if seen := found.get(targets.precision_of(spec)):
            fix = "precision: fp32, or int8 where the device has it; or train with weight decay or a smaller learning rate"
            raise InputError("the network overflows float16", where=f"targets.{name}.precision", seen=seen, fix=fix)
    return found.get("fp16")


def half_logits(network: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits float32 [N, classes] of float32 [N,3,H,W], every op rounded to float16. The network is half from then on."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = network.half()(torch.from_numpy(inputs).half()).float().numpy()
    return logits
