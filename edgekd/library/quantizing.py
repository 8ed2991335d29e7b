"""From a trained network to its int8 files: the pipeline's own quantization and export, without its stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import export, models, quant
from edgekd.core import InputError, Measurement
from edgekd.library.calibration import calibration_images
from edgekd.library.int8_files import Int8Files
from edgekd.stages.signal import parity

INT8 = ("ort", "ort-w7", "trt")
_BATCH = 32
_COMPARED = 128  # images: every node as written is slow


def quantized(model: nn.Module | str | Path, calibration: Any, preprocessing: Mapping[str, Any] | None) -> Int8Files:
    """As ``edgekd.quantize``."""
    if isinstance(model, (str, Path)):
        path = Path(model)
        images = calibration_images(calibration, preprocessing, models.image_shape(path)[1:])
        network: nn.Module = models.from_onnx(path, images)
    elif isinstance(model, nn.Module):
        images, network = calibration_images(calibration, preprocessing, None), model
    else:
        fix = "a torch.nn.Module, or the path of an .onnx file"
        raise InputError("this is no network", where="edgekd.quantize", seen=type(model).__name__, fix=fix)
    batches = [torch.from_numpy(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    made = quant.quantize(network, batches, INT8)
    marked = export.float_export(made.for_export(), made.image_size, images.shape[1])
    compared = images[np.linspace(0, len(images) - 1, min(_COMPARED, len(images))).round().astype(int)]
    reference = _logits(made.floating(), compared)
    with TemporaryDirectory(prefix="edgekd-") as folder:
        paths = export.write(marked, made.state_dict(), made.sites, Path(folder), (*INT8, "fp32"))
        measured: list[Measurement] = []
        for flavour in INT8:
            logits = export.run_onnx(paths[flavour], compared, optimised=False)
            measured += parity(flavour, reference, logits, images="calibration", ran="onnxruntime, every node as written")
        files = {flavour: path.read_bytes() for flavour, path in paths.items()}
    return Int8Files(files, measured, made.float_layers, made.candidates)


@torch.no_grad()
def _logits(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = (torch.from_numpy(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))
    return np.concatenate([network(part).numpy() for part in parts])
