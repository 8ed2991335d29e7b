"""CIFAR-10 and CIFAR-100 as published: the folder of the python version or of the binary version, extracted.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; cs.toronto.edu/~kriz/cifar.html describes both
formats. An image is 3072 bytes: 32 rows of 32 red pixels, then green, then blue. Train images are numbered through their files,
so that both versions have the same names and the same splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import InputError
from edgekd.core.files import disk_problems
from edgekd.data import plain_pickle
from edgekd.data.source import Item, Listing

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_AGAIN = "extract the archive again"

Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]  # [N,32,32,3], labels [N]


@dataclass(frozen=True)
class Version:
    """One of the two formats of a data set: its folder, its files, and where labels and their names stand."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    label: str | int  # key of the labels (python); bytes before the pixels, of which the last is the label (binary)
    name_key: str = ""


_TEN = tuple(f"data_batch_{number}" for number in range(1, 6))
VERSIONS = {
    "cifar10": (
        Version("cifar-10-batches-py", _TEN, "test_batch", "batches.meta", "labels", "label_names"),
        Version("cifar-10-batches-bin", tuple(f"{name}.bin" for name in _TEN), "test_batch.bin", "batches.meta.txt", 1),
    ),
    "cifar100": (
        Version("cifar-100-python", ("train",), "test", "meta", "fine_labels", "fine_label_names"),
        Version("cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt", 2),
    ),
}
PUBLISHED = (50_000, 10_000)  # images to train and to test on


def list_cifar(source: str, root: Path) -> Listing:
    """source: "cifar10" or "cifar100". root: the version's folder, or the one around it. Items hold uint8 [32,32,3].

    Raises InputError: files missing, damaged, or with labels that do not fit. IntegrityError: a file that could run code.
    """
    version, folder = _found(source, root)
    classes = _class_names(version, folder / version.names)
    wanted = int(source.removeprefix("cifar"))
    if not wanted == len(classes) == len(set(classes)):
        seen = f"{len(classes)} names, {len(set(classes))} of them different"
        raise InputError(f"{source} has {wanted} classes", where=str(folder / version.names), seen=seen, fix=_AGAIN)
    train, test = (_items(version, folder, files, len(classes)) for files in (version.train, (version.test,)))
    counts = len(train), len(test)
    (all_train, all_test), (here_train, here_test) = PUBLISHED, counts
    note = f"data: {source} has {all_train:,} train and {all_test:,} test images, here are {here_train:,} and {here_test:,}"
    return Listing(classes, {"train": train, "test": test}, hflip=True, notes=() if counts == PUBLISHED else (note,))


def _found(source: str, root: Path) -> tuple[Version, Path]:
    """The version whose train files lie in ``root``, or in its folder below."""
    for version in VERSIONS[source]:
        for folder in (root, root / version.folder):
            if (folder / version.train[0]).is_file():
                return version, folder
    archive = source.replace("cifar", "cifar-")
    files = " or ".join(f"{version.folder}/{version.train[0]}" for version in VERSIONS[source])
    fix = f"extract {archive}-python.tar.gz or {archive}-binary.tar.gz there, which makes {files}"
    raise InputError(f"no {source} here", where="data.path", seen=str(root), fix=fix)


def _class_names(version: Version, path: Path) -> tuple[str, ...]:
    if version.name_key:
        names = plain_pickle.read(path).get(version.name_key)
    elif not path.is_file():
        raise InputError("no such file", where=str(path), fix=_AGAIN)
    else:
        with disk_problems(path):
            names = path.read_text(encoding="ascii", errors="replace").split()
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
        seen = f"{version.name_key}: {type(names).__name__}" if version.name_key else "letters that cannot be printed"
        raise InputError("there are no class names", where=str(path), seen=seen, fix=_AGAIN)
    return tuple(names)


def _items(version: Version, folder: Path, files: Sequence[str], classes: int) -> tuple[Item, ...]:
    parts = [_read(version, folder / name, classes) for name in files]
    pictures, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return tuple(Item(f"{i:05d}", int(label), picture) for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)))


def _read(version: Version, path: Path, classes: int) -> Pictures:
    """Raises InputError: no images, or labels that are no classes."""
    rows, labels = _from_pickle(path, version.label) if isinstance(version.label, str) else _from_records(path, version.label)
    if not len(labels):
        raise InputError("the file holds no images", where=str(path), fix=_AGAIN)
    if not 0 <= labels.min() <= labels.max() < classes:
        seen = f"{labels.min()} to {labels.max()}"
        raise InputError(f"labels must lie in 0 to {classes - 1}", where=str(path), seen=seen, fix=_AGAIN)
    return np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels


def _from_pickle(path: Path, key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    document = plain_pickle.read(path)
    rows, labels = document.get("data"), document.get(key)
    if not isinstance(rows, np.ndarray) or not isinstance(labels, list) or not all(type(label) is int for label in labels):
        seen = ", ".join(map(str, document))[:100]
        raise InputError(f"the file must hold data and {key}", where=str(path), seen=seen, fix=_AGAIN)
    if rows.shape != (len(labels), _PIXELS):
        what = "images and labels are not as many, or images of another size"
        raise InputError(what, where=str(path), seen=f"{list(rows.shape)} and {len(labels)}", fix=_AGAIN)
    return rows, np.array(labels, np.int64)


def _from_records(path: Path, before: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """before: bytes of a record before its pixels; the last of them is the label."""
    if not path.is_file():
        raise InputError("no such file", where=str(path), fix=_AGAIN)
    with disk_problems(path):
        content = np.fromfile(path, np.uint8)
    length = before + _PIXELS
    if len(content) % length:
        what = f"the file does not hold whole records of {length} bytes"
        raise InputError(what, where=str(path), seen=f"{len(content):,} bytes", fix=_AGAIN)
    records = content.reshape(-1, length)
    return records[:, before:], records[:, before - 1].astype(np.int64)
