"""Golden cases: a few images and the logits every copy of the model must give on them, whatever the machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bundle.verify import told
from edgekd.device import normalize
from edgekd.device.onnxrt import open_session
from edgekd.device.onnxrt import run as run_session


def golden_logits(model: Path, images: NDArray[np.uint8], preprocessing: Mapping[str, Any]) -> NDArray[np.float32]:
    """Logits float32 [K, classes] of uint8 [K, H, W, 3], every node run as written: the one execution that no CPU changes.

    Raises EnvironmentProblem: no onnxruntime here. DeviceError: it refuses the model.
    """
    with told():
        session = open_session(str(model), optimised=False)
        logits: NDArray[np.float32] = run_session(session, normalize(images, dict(preprocessing)))
    return logits


def surest_half(logits: Iterable[NDArray[np.float32]]) -> NDArray[np.int64]:
    """Indices, sorted, of the half of the images on which no model is near a tie. logits: one [K, classes] of each model.

    Near a tie, the last bits decide: machines name different classes, and nothing is wrong with either.
    """
    margins = np.min([_margin(one) for one in logits], axis=0)
    half = math.ceil(len(margins) / 2)
    return np.sort(np.argsort(-np.nan_to_num(margins, nan=-np.inf), kind="stable")[:half])


def _margin(logits_KC: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the largest logit of each image stands above the second, in standard deviations of all this model's logits."""
    second_K, first_K = np.partition(logits_KC, -2, axis=1)[:, -2:].T
    margin_K: NDArray[np.float32] = (first_K - second_K) / max(float(logits_KC.std()), float(np.finfo(np.float32).tiny))
    return margin_K
