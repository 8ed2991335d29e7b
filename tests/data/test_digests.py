from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekd import data
from edgekd.core import InputError
from edgekd.data import digests

Tree = Callable[[Mapping[str, int]], Path]
Section = Callable[..., Any]


@pytest.fixture
def root(image_tree: Tree) -> Path:
    return image_tree({"cat": 6, "dog": 6})


def digest(section: Section, root: Path, memo: Path | None = None) -> str:
    return data.describe(section(), root=root, memo=memo).digest


def test_the_digest_is_the_same_when_the_folder_moves(section: Section, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "moved")
    assert digest(section, root) == digest(section, tmp_path / "moved")


@pytest.mark.parametrize("change", ["byte", "rename", "swap", "remove", "class"])
def test_whatever_changes_in_the_images_changes_the_digest(section: Section, root: Path, tmp_path: Path, change: str) -> None:
    memo = tmp_path / "memo.json"
    before, path = digest(section, root, memo), root / "cat" / "000.png"
    if change == "byte":
        path.write_bytes(path.read_bytes() + b"\0")
    elif change == "rename":
        path.rename(root / "cat" / "999.png")
    elif change == "swap":
        one, other = path.read_bytes(), (root / "dog" / "000.png").read_bytes()
        path.write_bytes(other)
        (root / "dog" / "000.png").write_bytes(one)
    elif change == "remove":
        path.unlink()
    else:
        (root / "cat").rename(root / "kat")
    assert digest(section, root, memo) != before


def test_seed_size_and_flip_are_not_in_the_digest(section: Section, root: Path) -> None:
    other = data.describe(section(split_seed=9, image_size=32, hflip=False), root=root)
    assert other.digest == digest(section, root)


def test_a_file_is_hashed_once_until_it_changes(
    section: Section, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(digests, "sha256_of", lambda path, real=digests.sha256_of: hashed.append(path) or real(path))
    memo = tmp_path / "memo.json"
    first = digest(section, root, memo)
    assert (len(hashed), digest(section, root, memo), len(hashed)) == (12, first, 12)
    path = root / "dog" / "003.png"
    os.utime(path, ns=(1, 1))
    assert (digest(section, root, memo), hashed[12:]) == (first, [path])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 3}', b"\xff"])
def test_a_damaged_memo_is_made_anew(section: Section, root: Path, tmp_path: Path, content: bytes) -> None:
    memo = tmp_path / "memo.json"
    memo.write_bytes(content)
    assert digest(section, root, memo) == digest(section, root)
    assert len(json.loads(memo.read_bytes())) >= 12


def test_an_image_in_train_and_test_is_counted_and_named(section: Section, image_tree: Tree) -> None:
    root = image_tree({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    shutil.copy(root / "train/a/000.png", root / "test/a/copy.png")
    shutil.copy(root / "train/a/000.png", root / "train/a/copy.png")  # two copies, so one at least stays in train
    shutil.copy(root / "train/a/000.png", root / "train/a/copy2.png")
    (note, *_) = [note for note in data.describe(section(), root=root).notes if "test images are also in train" in note]
    assert note == "data: 1 of 5 test images are also in train, byte for byte (such as a/copy.png), which flatters accuracy"


def test_an_image_in_two_classes_is_noted(section: Section, root: Path) -> None:
    shutil.copy(root / "cat" / "000.png", root / "dog" / "also.png")
    assert any("1 images lie in more than one class" in note for note in data.describe(section(), root=root).notes)


def test_different_images_are_no_duplicates(section: Section, root: Path) -> None:
    assert data.describe(section(), root=root).notes == ()


def test_a_dangling_link_is_named(section: Section, root: Path) -> None:
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError) as error:
        digest(section, root)
    assert "gone.png" in str(error.value.where)
