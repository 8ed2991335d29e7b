"""Image folders made on the spot, small and real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)  # tiny tensors: more threads only wait for one another


@pytest.fixture
def section() -> Callable[..., Any]:
    """A recipe's ``data`` section with defaults."""

    def make(**given: Any) -> Any:
        base = {"source": "imagefolder", "path": ".", "image_size": 16, "split_seed": 0, "hflip": None, "train_per_class": None}
        return SimpleNamespace(**{**base, **given})

    return make


@pytest.fixture
def image_tree(tmp_path: Path) -> Callable[[Mapping[str, int]], Path]:
    """image_tree({"train/cat": 5, …}) writes that many different PNGs into each folder and returns the root."""

    def make(counts: Mapping[str, int]) -> Path:
        root = tmp_path / "images"
        random = np.random.default_rng(0)
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (12, 20, 3), dtype=np.uint8)).save(root / folder / f"{i:03d}.png")
        return root

    return make
