"""One data set as a recipe names it: described without decoding, opened split by split, each decoded once when first used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekd.core import InputError
from edgekd.data import digests
from edgekd.data.cifar import list_cifar
from edgekd.data.decode import check_readable, decode_all
from edgekd.data.digits import list_digits
from edgekd.data.imagefolder import list_images
from edgekd.data.imagenet import list_imagenet
from edgekd.data.source import Item, Listing, Part
from edgekd.data.splits import Splits, split, spread
from edgekd.device import normalize

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, std that torchvision's ImageNet weights were trained with
PUBLISHED = {  # by source: mean and std that its published networks were trained with; mdistiller's for CIFAR-100
    "imagenet": IMAGENET,
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
MARGIN_FROM = 64  # pixels: from here on images keep a margin (7/8, as is usual for 224 of 256), below none can be spared
_KEPT = 0.875
CHUNK_BYTES = 256 << 20
_LEAST_STD = 1 / 255  # a channel that never changes must not be divided by zero

Normalization = tuple[Sequence[float], Sequence[float]]


class DataSection(Protocol):
    """What is read of a recipe's ``data``."""

    @property
    def source(self) -> str: ...
    @property
    def path(self) -> str | None: ...
    @property
    def image_size(self) -> int | Sequence[int]: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def hflip(self) -> bool | None: ...
    @property
    def train_per_class(self) -> int | None: ...


@dataclass(frozen=True)
class Description:
    """What can be said without decoding: counts by split name, the digest of all names, labels and bytes, and warnings."""

    classes: tuple[str, ...]
    counts: Mapping[str, int]
    digest: str
    hflip: bool
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "counts": dict(self.counts),
            "digest": self.digest,
            "hflip": self.hflip,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Split:
    """images uint8 [N,H,W,3] RGB, labels int64 [N] (indices into the classes), names [N]: row i of each is the same image."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> Split:
        return Split(self.images[rows], self.labels[rows], tuple(self.names[row] for row in np.arange(len(self))[rows]))


class Dataset:
    """``classes``, ``hflip``, ``notes``, ``counts`` and the splits ``train``, ``held_out``, ``test``; made by open_dataset.

    held_out, test and calibration images are exactly what ``preprocessing`` makes of a file. Train images of 64 pixels and more
    are larger by 1 / 0.875, which leaves random crops their room. A split is decoded when first asked for: whoever does not
    ask for ``test`` has not opened it.
    """

    def __init__(
        self, listing: Listing, splits: Splits, section: DataSection, scratch: Path | None, normalization: Normalization | None
    ) -> None:
        self.classes = listing.classes
        self.notes = listing.notes
        self.hflip = listing.hflip if section.hflip is None else section.hflip
        self.counts = {name: len(items) for name, items in splits.items()}
        self._splits, self._scratch, self._split_seed = splits, scratch, section.split_seed
        self._geometry, self._train_geometry = geometries(section.image_size)
        self._normalization = normalization

    @cached_property
    def preprocessing(self) -> dict[str, Any]:
        """The JSON dict that device.preprocess follows; mean and std of the train images unless they were given."""
        mean, std = self._normalization or channel_statistics(self.train.images)
        return {**self._geometry, "mean": list(mean), "std": list(std)}

    @cached_property
    def train(self) -> Split:
        return self._decoded(self._splits["train"], self._train_geometry)

    @cached_property
    def held_out(self) -> Split:
        return self._decoded(self._splits["held_out"], self._geometry)

    @cached_property
    def test(self) -> Split:
        return self._decoded(self._splits["test"], self._geometry)

    def calibration(self, count: int) -> Split:
        """``count`` train images (all, if fewer), classes as even as they allow, as the application sees them; by split seed."""
        return self._decoded(spread(self._splits["train"], count, self._split_seed), self._geometry)

    def check_readable(self) -> None:
        """Decode every image of every split and keep none. Raises InputError naming what is broken."""
        check_readable([item for items in self._splits.values() for item in items], self._geometry)

    def _decoded(self, items: Sequence[Item], geometry: Mapping[str, Any]) -> Split:
        images = decode_all(items, geometry, scratch=self._scratch)
        return Split(images, np.array([item.label for item in items], np.int64), tuple(item.name for item in items))


def open_dataset(
    section: DataSection,
    *,
    root: Path | None,
    cache: Path | None = None,
    normalization: Normalization | None = None,
    most: Mapping[str, int] | None = None,
) -> Dataset:
    """The data set a recipe's ``data`` section names; nothing is decoded yet.

    root: the folder that a relative ``path`` starts from (None: the working folder). cache: a folder for decoded images that do
    not fit into memory. normalization: (mean, std) to use instead of those of the train images, such as IMAGENET. most: by
    split, how many of its images to keep, classes as even as they allow; None keeps all.
    Raises InputError as list_images and split do.
    """
    listing, splits = _listed(section, root)
    if most is not None:
        splits = {name: spread(items, most[name], section.split_seed) for name, items in splits.items()}
    return Dataset(listing, splits, section, cache, normalization)


def describe(section: DataSection, *, root: Path | None, memo: Path | None = None) -> Description:
    """Classes, counts and digest; reads the bytes of files that ``memo`` does not know yet, decodes none.

    memo: a JSON file in which file hashes are kept. Raises InputError as list_images and split do.
    """
    listing, splits = _listed(section, root)
    hashes = digests.hash_items(listing, memo)
    notes = listing.notes + digests.duplicates(splits, hashes, _part_of(listing))
    counts = {name: len(items) for name, items in splits.items()}
    hflip = listing.hflip if section.hflip is None else section.hflip
    return Description(listing.classes, counts, digests.dataset_digest(listing, hashes), hflip, notes)


def model_inputs(split: Split, preprocessing: Mapping[str, Any]) -> NDArray[np.float32]:
    """float32 [N,3,H,W] of a whole split, made as the application makes its inputs."""
    return np.asarray(normalize(np.ascontiguousarray(split.images), dict(preprocessing)), dtype=np.float32)


def input_chunks(
    split: Split, preprocessing: Mapping[str, Any], *, most_bytes: int = CHUNK_BYTES
) -> Iterator[NDArray[np.float32]]:
    """The same in parts of at most ``most_bytes``, in order: a large split does not fit into memory as float32."""
    height, width = preprocessing["image_size"]
    rows = max(1, most_bytes // (3 * height * width * 4))
    for start in range(0, len(split), rows):
        yield model_inputs(split[start : start + rows], preprocessing)


def geometries(image_size: int | Sequence[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How evaluation images and train images are resized: two preprocessing specs without mean and std.

    Square sizes keep the aspect ratio (shorter side, then centre crop), others are resized exactly.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    keep = _KEPT if min(height, width) >= MARGIN_FROM else 1.0
    larger = [round(height / keep), round(width / keep)]
    evaluation = {"shorter": larger[0]} if height == width else {"exact": [height, width]}
    train = {"shorter": larger[0]} if height == width else {"exact": larger}
    return (
        {"image_size": [height, width], "resize": evaluation, "interpolation": "bilinear"},
        {"image_size": larger, "resize": train, "interpolation": "bilinear"},
    )


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 [N,H,W,3], for pixels in 0..1, to four decimals; from exact counts."""
    counts = np.zeros((3, 256), np.int64)
    for block in range(0, len(images), 256):
        for channel in range(3):
            counts[channel] += np.bincount(images[block : block + 256, :, :, channel].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    std = np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))
    return [round(float(m), 4) for m in mean], [round(max(float(s), _LEAST_STD), 4) for s in std]


def _listed(section: DataSection, root: Path | None) -> tuple[Listing, Splits]:
    """The source's items and its splits; notes say of how many train images a part is kept."""
    listing = _list(section, root)
    splits = split(listing, section.split_seed, section.train_per_class)
    if section.train_per_class is None:
        return listing, splits
    used, known = sum(map(len, splits.values())), sum(map(len, listing.parts.values()))
    kept = len(splits["train"])
    note = f"data: train_per_class keeps {kept:,} of {kept + known - used:,} train images"
    return replace(listing, notes=(*listing.notes, note)), splits


def _list(section: DataSection, root: Path | None) -> Listing:
    if section.source == "digits":
        return list_digits()
    if section.source not in _FOLDERS:
        raise InputError("unknown data source", where="data.source", seen=section.source, fix=f"digits, {', '.join(_FOLDERS)}")
    if section.path is None:
        fix = f"data: {{source: {section.source}, path: FOLDER, …}}"
        raise InputError(f"{section.source} needs a path", where="data.path", fix=fix)
    return _FOLDERS[section.source]((root or Path()) / Path(section.path).expanduser())


_FOLDERS: dict[str, Callable[[Path], Listing]] = {
    "imagefolder": list_images,
    "imagenet": list_imagenet,
    "cifar10": partial(list_cifar, "cifar10"),
    "cifar100": partial(list_cifar, "cifar100"),
}


def _part_of(listing: Listing) -> dict[str, Part]:
    if "all" in listing.parts:
        return {"train": "all", "held_out": "all", "test": "all"}
    test: Part = "test" if "test" in listing.parts else "val"
    return {"train": "train", "held_out": "val" if {"val", "test"} <= listing.parts.keys() else "train", "test": test}
