"""Where a batch's images come from: a GPU with room for them keeps them all, as bytes, and only row numbers travel each step."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.data.dataset import Split

MOST_OF_FREE_MEMORY = 0.25  # ours: networks, their maps and the optimiser come after
_kept: WeakKeyDictionary[Split, dict[torch.device, tuple[Tensor, Tensor]]] = WeakKeyDictionary()  # for all streams of a split


def taken(split: Split, rows: NDArray[np.integer[Any]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Images uint8 [B,H,W,3] and labels int64 [B] of these rows, on ``device``."""
    kept = _kept.setdefault(split, {})
    if device not in kept and has_room(device, split.images.nbytes):
        kept[device] = torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device)
    if device not in kept:
        images, labels = torch.from_numpy(split.images[rows]), torch.from_numpy(split.labels[rows])
        return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
    rows_B = torch.from_numpy(rows).to(device, non_blocking=True)
    images, labels = (of_all.index_select(0, rows_B) for of_all in kept[device])
    return images, labels


def has_room(device: torch.device, size: int) -> bool:
    """For so many bytes beside a training. Memory of the host is left to the file that images may be mapped from."""
    return device.type == "cuda" and size <= MOST_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
