"""The images: sources, splits, one array a split, and the batches of views a training loop eats. Torch only behind Batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekd.data.dataset import (
    IMAGENET,
    PUBLISHED,
    DataSection,
    Dataset,
    Description,
    Split,
    describe,
    geometries,
    input_chunks,
    model_inputs,
    open_dataset,
)
from edgekd.data.loose import loose_images
from edgekd.data.splits import spread_over_classes

if TYPE_CHECKING:
    from edgekd.data.batches import Batches, eval_batches

__all__ = [
    "IMAGENET",
    "PUBLISHED",
    "Batches",
    "DataSection",
    "Dataset",
    "Description",
    "Split",
    "describe",
    "eval_batches",
    "geometries",
    "input_chunks",
    "loose_images",
    "model_inputs",
    "open_dataset",
    "spread_over_classes",
]


def __getattr__(name: str) -> Any:
    if name in ("Batches", "eval_batches"):
        from edgekd.data import batches

        return getattr(batches, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
