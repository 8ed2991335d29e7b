"""The images that two models are compared on: a folder's, those a recipe holds out, or, where none are given, blurred noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import data, recipe
from edgekd.core import InputError
from edgekd.stages.images import normalization_of

MOST = 2000  # images; the intervals of so many are narrower than what a change of runtime costs
NOISE = 64
_BLOCK = 8  # pixels: of one brightness before it is smoothed, so that convolutions see more than noise


@dataclass(frozen=True)
class Images:
    """chunks: float32 [N,C,H,W] in parts, from the start each time. labels: indices of classes, or None. said: what they are."""

    chunks: Callable[[], Iterator[NDArray[np.float32]]]
    count: int
    labels: NDArray[np.int64] | None
    classes: int | None
    said: str

    def some(self, count: int) -> Iterator[NDArray[np.float32]]:
        """float32 [1,C,H,W] each: every so-manieth image."""
        step, at = max(1, self.count // count), 0
        wanted = range(0, step * min(count, self.count), step)
        for chunk in self.chunks():
            for image in chunk:
                if at in wanted:
                    yield image[None]
                at += 1


def images_for(shape: tuple[int, int, int], folder: Path | None, recipe_file: Path | None, preprocessing: Path | None) -> Images:
    """Images of ``shape`` (channels, height, width). folder, recipe_file: where they are from; preprocessing: a JSON file as in a
    bundle, of a folder's images; without, they are resized as a recipe's are and normalized as for ImageNet.

    Raises InputError: both, images of another size, no recipe, no images.
    """
    if folder is None and recipe_file is None:
        if preprocessing is not None:
            raise InputError("there are no images to preprocess", where="--preprocessing", fix="give --images FOLDER too")
        noise = _blurred_noise(shape)
        return Images(lambda: iter([noise]), NOISE, None, None, f"{NOISE} images of blurred noise")
    if folder is not None and recipe_file is not None:
        raise InputError("images are of one place", where="--images, --data", fix="give one of them")
    if shape[0] != 3:
        raise InputError("the models do not take images", seen=f"{shape[0]} channels", fix="leave --images and --data out")
    if folder is not None:
        spec = _spec(preprocessing, shape)
        split, classes = data.loose_images(folder, spec, MOST)
        labels = split.labels if classes else None
        return _of(split, spec, labels, len(classes) or None, f"{len(split):,} images of {folder}")
    if preprocessing is not None:
        raise InputError("a recipe has its own preprocessing", where="--preprocessing", fix="leave it out")
    assert recipe_file is not None
    return _held_out(recipe_file, shape)


def _held_out(file: Path, shape: tuple[int, int, int]) -> Images:
    """The test images stay closed: comparing models is choosing."""
    loaded = recipe.load(file)
    opened = data.open_dataset(loaded.data, root=loaded.folder, normalization=normalization_of(loaded))
    split, spec = opened.held_out, opened.preprocessing
    _require(spec["image_size"], shape, "--data")
    if len(split) > MOST:
        split = split[data.spread_over_classes(split.labels, MOST)]
    return _of(split, spec, split.labels, len(opened.classes), f"{len(split):,} held-out images of {file}")


def _of(split: data.Split, spec: Mapping[str, Any], labels: NDArray[np.int64] | None, classes: int | None, said: str) -> Images:
    return Images(lambda: data.input_chunks(split, spec), len(split), labels, classes, said)


def _spec(file: Path | None, shape: tuple[int, int, int]) -> dict[str, Any]:
    if file is None:
        mean, std = data.IMAGENET
        return {**data.geometries(shape[1:])[0], "mean": list(mean), "std": list(std)}
    try:
        spec = json.loads(file.read_bytes())
        size = [int(one) for one in spec["image_size"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        fix = "give a bundle's preprocessing.json"
        raise InputError("this is no preprocessing", where=str(file), seen=f"{type(error).__name__}: {error}", fix=fix) from error
    _require(size, shape, str(file))
    return dict(spec)


def _require(size: Any, shape: tuple[int, int, int], where: str) -> None:
    if list(size) != list(shape[1:]):
        seen = f"images of {size[0]} x {size[1]}, models of {shape[1]} x {shape[2]}"
        raise InputError("the models take images of another size", where=where, seen=seen, fix="give images of the models' size")


def _blurred_noise(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    channels, height, width = shape
    coarse = np.random.default_rng(0).standard_normal((NOISE, channels, height // _BLOCK + 2, width // _BLOCK + 2), np.float32)
    fine = coarse.repeat(_BLOCK, 2).repeat(_BLOCK, 3)
    for axis in (2, 3):  # a running mean over a block
        sums = np.cumsum(fine, axis, dtype=np.float32)
        ends = np.take(sums, range(_BLOCK, sums.shape[axis]), axis)
        fine = (ends - np.take(sums, range(sums.shape[axis] - _BLOCK), axis)) / np.float32(_BLOCK)
    return np.ascontiguousarray(fine[:, :, :height, :width])
