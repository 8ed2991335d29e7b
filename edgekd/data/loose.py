"""Any folder of images, to run models on: one folder a class, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.core import InputError
from edgekd.data.dataset import Split
from edgekd.data.decode import decode_all
from edgekd.data.imagefolder import SUFFIXES, images_in, read_part
from edgekd.data.source import Item
from edgekd.data.splits import spread


def loose_images(folder: Path, preprocessing: Mapping[str, Any], most: int) -> tuple[Split, tuple[str, ...]]:
    """At most ``most`` images as ``preprocessing`` makes them, and the names of their classes, which the labels count.

    The classes are the folders in it, each with the same share of the images; none, and labels of -1, where the images lie in
    the folder itself. Raises InputError: no folder, no images, or some that cannot be read.
    """
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), fix="name a folder of images")
    classes: tuple[str, ...] = ()
    if images_in(folder):
        names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
        items = tuple(Item(name, -1, folder / name) for name in names if (folder / name).is_file())
    else:
        classes, items = read_part(folder, [])
    chosen = spread(items, most, 0)
    labels = np.array([one.label for one in chosen], np.int64)
    return Split(decode_all(chosen, preprocessing), labels, tuple(one.name for one in chosen)), classes
