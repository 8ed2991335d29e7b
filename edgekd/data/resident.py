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
# For all streams of a split; None: there was no room for it on that device.
_kept: WeakKeyDictionary[Split, dict[torch.device, tuple[Tensor, Tensor] | None]] = WeakKeyDictionary()


def taken(split: Split, rows: NDArray[np.integer[Any]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Images uint8 [B,H,W,3] and labels int64 [B] of these rows, on ``device``."""
    places = _kept.setdefault(split, {})
    if device not in places:
        room = has_room(device, split.images.nbytes)
        places[device] = (torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device)) if room else None
    kept = places[device]
    if kept is None:
        images, labels = torch.from_numpy(split.images[rows]), torch.from_numpy(split.labels[rows])
        return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
    rows_B = torch.from_numpy(rows).to(device, non_blocking=True)
    return kept[0].index_select(0, rows_B), kept[1].index_select(0, rows_B)


def has_room(device: torch.device, size: int) -> bool:
    """For so many bytes beside a training. Memory of the host is left to the file that images may be mapped from."""
    return device.type == "cuda" and size <= MOST_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
