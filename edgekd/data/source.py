"""What every source of images yields: named, labelled items, listed without being decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["all", "train", "val", "test"]


@dataclass(frozen=True)
class Item:
    """One image: ``name`` is unique within its part and the same on every machine; ``content`` is a file or uint8 [H,W,3]."""

    name: str
    label: int
    content: Path | NDArray[np.uint8] = field(compare=False)


@dataclass(frozen=True)
class Listing:
    """All items of a source. ``parts`` is either {"all"} (to be split by seed) or {"train"} with "val", "test" or both."""

    classes: tuple[str, ...]
    parts: Mapping[Part, tuple[Item, ...]]
    hflip: bool  # whether a mirrored image of this source is still of its class
    notes: tuple[str, ...] = ()
