"""Image files as they come: each is the picture it should be, or is refused with its name and the reason; nothing hangs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import broken_images as zoo
import numpy as np
import pytest
from as_nobody import as_nobody

from edgekd import data
from edgekd.core import EnvironmentProblem, InputError
from edgekd.device import Problem, decode

Tree = Callable[[Mapping[str, int]], Path]
Section = Callable[..., Any]
pytestmark = pytest.mark.timeout(60)  # what hangs fails

SPEC = {"image_size": [16, 16], "resize": {"shorter": 16}, "interpolation": "bilinear"}
LOSSY = 6  # grey levels that JPEG at quality 95 may be off


@pytest.fixture
def root(image_tree: Tree) -> Path:
    return image_tree({"train/cat": 2, "train/dog": 3, "val/cat": 1, "val/dog": 1})


def test_there_are_enough_kinds() -> None:
    assert len(zoo.PICTURES) + len(zoo.REFUSED) + len(zoo.NO_FILES) >= 25


@pytest.mark.parametrize("kind", zoo.PICTURES.values(), ids=zoo.PICTURES)
def test_an_odd_file_is_the_picture_it_should_be(kind: zoo.Kind, root: Path, section: Section) -> None:
    kind.write(root / "val/cat" / kind.name)
    data.describe(section(), root=root)
    test = data.open_dataset(section(), root=root).test
    (pixels,) = [pixels for pixels, name in zip(test.images, test.names, strict=True) if name == f"cat/{kind.name}"]
    assert np.abs(pixels.astype(int) - kind.expected).max() <= (LOSSY if kind.name.lower().endswith("jpg") else 0)


@pytest.mark.parametrize("kind", zoo.REFUSED.values(), ids=zoo.REFUSED)
def test_what_is_no_picture_is_refused_with_its_name_and_the_reason(kind: zoo.Kind, root: Path, section: Section) -> None:
    kind.write(root / "val/cat" / kind.name)
    data.describe(section(), root=root)
    with pytest.raises(InputError) as refused:
        data.open_dataset(section(), root=root).check_readable()
    assert refused.value.what == "1 of 8 images cannot be read"
    assert str(refused.value.seen).startswith(f"cat/{kind.name} (") and kind.expected in str(refused.value.seen)
    assert refused.value.where == str(root / "val/cat") and refused.value.fix


@pytest.mark.parametrize("kind", zoo.NO_FILES.values(), ids=zoo.NO_FILES)
def test_what_is_no_file_is_refused_before_any_image_is_decoded(kind: zoo.Kind, root: Path, section: Section) -> None:
    kind.write(root / "train/dog" / kind.name)
    with as_nobody(root.parent), pytest.raises((InputError, EnvironmentProblem)) as refused:
        data.describe(section(), root=root)
    assert refused.value.where == str(root / "train/dog" / kind.name) and refused.value.fix
    assert kind.expected in f"{refused.value.what} {refused.value.seen}"


@pytest.mark.parametrize("kind", zoo.NO_FILES.values(), ids=zoo.NO_FILES)
def test_an_app_that_is_given_no_file_is_told_so_and_does_not_wait(kind: zoo.Kind, tmp_path: Path) -> None:
    kind.write(tmp_path / kind.name)
    with as_nobody(tmp_path), pytest.raises(Problem, match="cannot open the image") as refused:
        decode(tmp_path / kind.name, SPEC)
    assert refused.value.where == str(tmp_path / kind.name)


def test_a_folder_named_like_an_image_is_a_folder(root: Path, section: Section) -> None:
    (root / "train/cat/more.jpg").mkdir()
    (root / "train/cat/more.jpg/one.png").write_bytes(zoo.PNG)
    assert data.describe(section(), root=root).counts["train"] + data.describe(section(), root=root).counts["held_out"] == 6


def whole(content: bytes) -> np.ndarray | None:
    """The pixels, None if they are refused in words."""
    try:
        return decode(io.BytesIO(content), SPEC)
    except Problem as problem:
        assert problem.code == "input"
        return None


ENCODED = {"PNG": zoo.PNG, "JPEG": zoo.JPEG, "progressive": zoo.PROGRESSIVE, "WebP": zoo.WEBP, "lossless WebP": zoo.LOSSLESS,
           "GIF": zoo.GIF, "BMP": zoo.BMP}  # fmt: skip


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_an_image_cut_anywhere_is_refused_or_still_the_same_picture(content: bytes) -> None:
    picture = whole(content)
    cut = [whole(content[:end]) for end in range(len(content))]
    assert cut[0] is None and cut[len(content) // 2] is None
    assert all(np.array_equal(one, picture) for one in cut if one is not None)


def test_no_flipped_bit_makes_another_picture_of_a_png() -> None:
    picture = whole(zoo.PNG)
    flipped = [whole(zoo.flipped(zoo.PNG, at)) for at in range(len(zoo.PNG))]
    assert sum(one is None for one in flipped) > 0.9 * len(flipped)
    assert all(np.array_equal(one, picture) for one in flipped if one is not None)


def test_a_stream_that_cannot_go_back_is_read_too() -> None:
    read, write = os.pipe()
    os.write(write, zoo.PNG)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        assert np.array_equal(decode(stream, SPEC), zoo.PICTURE)
