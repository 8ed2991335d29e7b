"""The handwritten digits that come with edgekd: 1,797 real images, so that a first run needs no data set. Origin: digits.txt."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgekd.core import IntegrityError
from edgekd.core.files import disk_problems, sha256_of
from edgekd.data.source import Item, Listing

FILE = Path(__file__).with_name("digits.npz")
SHA256 = "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"
_NOTE = "digits: the same 13 people wrote the training and the test images, so accuracy is that on known handwriting"


@lru_cache(maxsize=1)
def list_digits() -> Listing:
    """Ten classes "0" to "9" in one part; each item holds uint8 [8,8,3], values 0..255. Raises IntegrityError: file changed."""
    with disk_problems(FILE):
        content = FILE.read_bytes()
        if (seen := sha256_of(FILE)) != SHA256:
            raise IntegrityError(
                "the shipped digits are not the ones edgekd was released with", where=str(FILE), seen=seen, fix="reinstall edgekd"
            )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        levels, labels = archive["images"], archive["labels"]
    grey = np.rint(levels * (255 / 16)).astype(np.uint8)  # 0..16 set pixels in a block
    images = np.repeat(grey[..., None], 3, axis=3)
    items = tuple(Item(f"{i:04d}", int(label), image) for i, (image, label) in enumerate(zip(images, labels, strict=True)))
    return Listing(tuple("0123456789"), {"all": items}, hflip=False, notes=(_NOTE,))
