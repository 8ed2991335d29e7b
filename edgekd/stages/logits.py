"""Logits of a device; where each image takes it seconds, in parts that are kept, so that what ends midway loses one part only."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import data, targets
from edgekd.core.files import write_atomic


def logits_of(
    device: targets.Connection,
    model: Path,
    images: data.Split,
    preprocessing: data.Preprocessing,
    *,
    optimised: bool = True,
    kept: Path | None = None,
    say: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> NDArray[np.float32]:
    """float32 [N, classes]. kept: a folder of this step alone, to be made, which outlives it until the step is finished: its key
    fixes device, engine and images, so that a part in it is of the same. None: nothing is kept."""
    most = device.images_a_call()
    if most is None:
        return _asked(device, model, images, preprocessing, optimised)
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(images), most):
        say({"done": start, "total": len(images), "note": f"{model.stem}: {start:,} of {len(images):,} test images"})
        part = images[start : start + most]
        path = kept / f"{model.name}-{start}.npy" if kept else None
        found = _read(path, len(part))
        if found is None:
            found = _asked(device, model, part, preprocessing, optimised)
            _write(path, found)
        parts.append(found)
    return np.concatenate(parts)


def _asked(
    device: targets.Connection, model: Path, images: data.Split, preprocessing: data.Preprocessing, optimised: bool
) -> NDArray[np.float32]:
    chunks = data.input_chunks(images, preprocessing)
    return np.concatenate([device.infer(model, chunk, optimised=optimised) for chunk in chunks])


def _read(path: Path | None, images: int) -> NDArray[np.float32] | None:
    """None where there is none, or what is there is no answer for so many images: then they are asked again."""
    try:
        found: Any = np.load(path, allow_pickle=False) if path else None
    except (OSError, ValueError, EOFError):
        return None
    right = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.ndim == 2 and len(found) == images
    return found if right and bool(np.isfinite(found).all()) else None


def _write(path: Path | None, logits: NDArray[np.float32]) -> None:
    if path is not None:
        content = io.BytesIO()
        np.save(content, logits, allow_pickle=False)
        write_atomic(path, content.getvalue())
