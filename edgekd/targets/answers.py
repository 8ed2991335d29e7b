"""Logits that came back in parts: joined only where each part has a row for each of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekd.core import DeviceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def joined(parts: Sequence[NDArray[np.float32]], images: Sequence[int], where: str) -> NDArray[np.float32]:
    """float32 [N, classes]. parts: of each request its answer, of ``images`` images; one short and the next long would give
    images the logits of their neighbours. Raises DeviceError: other numbers of rows or classes, another shape."""
    import numpy as np

    shapes = [one.shape for one in parts]
    rows = [shape[0] if len(shape) == 2 else None for shape in shapes]
    if rows != list(images) or len({shape[1:] for shape in shapes}) != 1:
        seen = f"{', '.join(map(str, shapes[:3]))} for {', '.join(map(str, images[:3]))} images"
        raise DeviceError("another number of results than of images", where=where, seen=seen, fix="run the same command again")
    return np.concatenate(parts)
