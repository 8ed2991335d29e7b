"""Calibration images in whatever form they come: one float32 array of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import data
from edgekd.core import InputError

MOST = 512  # images; more change no range that matters
_WHERE = "calibration"


def calibration_images(
    given: Any, preprocessing: Mapping[str, Any] | None, image_size: tuple[int | None, int | None] | None
) -> NDArray[np.float32]:
    """float32 [N,C,H,W], at most MOST. given, preprocessing: as of ``edgekd.quantize``. image_size: height and width that a file
    takes, where it says so; a folder's images are made of that size.

    Raises InputError: no images, images of another form, a folder without preprocessing.
    """
    if isinstance(given, (str, Path)):
        images = _of_folder(Path(given), preprocessing, image_size)
    elif preprocessing is not None:
        fix = "leave preprocessing out, and give the images as the network is given them"
        raise InputError("preprocessing is for a folder of images", where=_WHERE, seen=type(given).__name__, fix=fix)
    elif hasattr(given, "shape"):
        whole = _array(given)
        images = whole[np.linspace(0, len(whole) - 1, min(MOST, len(whole))).round().astype(int)] if len(whole) else whole
    else:
        batches = list(_until(MOST, given))
        if len({batch.shape[1:] for batch in batches}) > 1:
            seen = ", ".join(sorted({str(batch.shape[1:]) for batch in batches}))
            raise InputError("calibration images change size", where=_WHERE, seen=seen, fix="resize them to one size")
        images = np.concatenate(batches)[:MOST] if batches else np.zeros((0, 1, 1, 1), np.float32)
    if not len(images):
        raise InputError("no calibration images", where=_WHERE, fix="give 128 to 512 of the training images")
    if not np.isfinite(images).all():
        raise InputError("calibration images are not all finite numbers", where=_WHERE, fix="look for NaN or infinity in them")
    return images


def _of_folder(
    folder: Path, told: Mapping[str, Any] | None, image_size: tuple[int | None, int | None] | None
) -> NDArray[np.float32]:
    size = (told or {}).get("image_size", image_size)
    sides = [size, size] if isinstance(size, int) else list(size or [])
    if told is None or not {"mean", "std"} <= told.keys() or len(sides) != 2 or None in sides:
        fix = (
            'preprocessing={"image_size": [224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]} is ImageNet\'s'
        )
        seen = "nothing" if told is None else f"only {', '.join(told)}"
        raise InputError("a folder's images need the network's own preprocessing", where=_WHERE, seen=seen, fix=fix)
    spec = {**data.geometries(sides)[0], **told, "image_size": sides}
    split, _ = data.loose_images(folder, spec, MOST)
    return data.model_inputs(split, spec)


def _until(most: int, batches: Iterable[Any]) -> Iterator[NDArray[np.float32]]:
    count = 0
    try:
        remaining: Iterator[Any] = iter(batches)
    except TypeError as error:
        seen, fix = type(batches).__name__, "an array [N,C,H,W], an iterable of such batches, or a folder of images"
        raise InputError("these are no calibration images", where=_WHERE, seen=seen, fix=fix) from error
    while count < most:
        try:
            given = next(remaining)
        except StopIteration:
            return
        batch = given[0] if isinstance(given, (tuple, list)) and given else given
        if not hasattr(batch, "shape"):
            fix = "let it give arrays or tensors [B,C,H,W], or pairs of images and labels"
            raise InputError("a batch is no array", where=_WHERE, seen=type(batch).__name__, fix=fix)
        images = _array(batch[None] if len(batch.shape) == 3 else batch)
        count += len(images)
        yield images


def _array(given: Any) -> NDArray[np.float32]:
    """Of an array or a tensor, on whatever device. Raises InputError: not [N,C,H,W], or raw pixels."""
    array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    seen = f"{array.dtype} {list(array.shape)}"
    if array.ndim != 4 or (array.shape[1] not in (1, 3) and array.shape[3] in (1, 3)):
        fix = "give them channels first: images.transpose(0, 3, 1, 2)" if array.ndim == 4 else "one array of four axes"
        raise InputError("calibration images must be [N, channels, height, width]", where=_WHERE, seen=seen, fix=fix)
    if array.dtype.kind != "f":
        fix = "scale and normalize them as the network's own code does; they are float then"
        raise InputError("calibration images must be what the network is given, not pixels", where=_WHERE, seen=seen, fix=fix)
    return np.ascontiguousarray(array, dtype=np.float32)
