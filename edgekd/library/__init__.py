"""For those who train themselves: a network of one's own as int8 files for onnxruntime and TensorRT, in three lines.

import edgekd
made = edgekd.quantize(network, images)
made.save("int8")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.core import EnvironmentProblem
from edgekd.core.errors import INSTALL_TRAINING

if TYPE_CHECKING:
    from torch import nn

    from edgekd.library.int8_files import Int8Files

__all__ = ["quantize"]


def quantize(model: nn.Module | str | Path, calibration: Any, *, preprocessing: Mapping[str, Any] | None = None) -> Int8Files:
    """Quantize a trained image classifier after training; it is not changed. Takes seconds to a minute.

    model: any torch network float32 [N,C,H,W] -> logits [N,classes], or the path of a float ONNX file of any framework.
    calibration: 128 to 512 of the training images, as the network is given them: an array or tensor [N,C,H,W], an iterable of
    such batches (a DataLoader: of a pair the first is taken), or a folder of images, whose ``preprocessing`` must then be told:
    {"image_size": [H, W], "mean": [r, g, b], "std": [r, g, b]} for pixels in 0..1; more keys as in a bundle's
    preprocessing.json. Of more than 512 images as many are used: of an iterable the first, else evenly spread ones.

    Raises EnvironmentProblem: the extra ``edgekd[train]`` is not installed. InputError: images of another shape or type, not
    finite, a network that cannot be traced, an operator of the file that is not known.
    """
    try:
        from edgekd.library.quantizing import quantized
    except ImportError as error:
        what, seen = "edgekd.quantize needs the packages for training", str(error)
        raise EnvironmentProblem(what, where="edgekd.quantize", seen=seen, fix=INSTALL_TRAINING) from error
    return quantized(model, calibration, preprocessing)
