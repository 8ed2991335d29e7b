from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from as_nobody import as_nobody

from edgekd.core import EnvironmentProblem, InputError
from edgekd.data.digests import hash_items
from edgekd.data.imagefolder import list_images

Tree = Callable[[Mapping[str, int]], Path]


def refusal(root: Path) -> InputError:
    with pytest.raises(InputError) as error:
        list_images(root)
    assert error.value.fix and error.value.where and error.value.seen
    return error.value


def test_train_and_val_are_parts_and_classes_are_numbered_by_name(image_tree: Tree) -> None:
    listing = list_images(image_tree({"train/b": 3, "train/a": 2, "val/a": 1, "val/b": 1}))
    assert (listing.classes, listing.hflip, listing.notes) == (("a", "b"), True, ())
    assert [(item.name, item.label) for item in listing.parts["train"]][:3] == [
        ("a/000.png", 0),
        ("a/001.png", 0),
        ("b/000.png", 1),
    ]
    assert {part: len(items) for part, items in listing.parts.items()} == {"train": 5, "val": 2}


def test_classes_are_numbered_as_torchvision_numbers_them(image_tree: Tree) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    root = image_tree(dict.fromkeys(("10", "9", "Zebra", "ant", "émeu", "a b"), 3))
    assert list(list_images(root).classes) == datasets.ImageFolder(root).classes


def test_one_folder_of_class_folders_is_one_part(image_tree: Tree) -> None:
    assert list(list_images(image_tree({"cat": 3, "dog": 4})).parts) == ["all"]


def test_a_class_may_be_called_train(image_tree: Tree) -> None:
    assert list_images(image_tree({"train": 3, "bus": 3, "car": 3})).classes == ("bus", "car", "train")


def test_a_lone_train_folder_is_split_by_seed_and_that_is_noted(image_tree: Tree) -> None:
    listing = list_images(image_tree({"train/cat": 3, "train/dog": 3}))
    assert (list(listing.parts), listing.classes) == (["all"], ("cat", "dog"))
    assert "split off it by seed" in listing.notes[0]


def test_folders_beside_the_parts_are_noted(image_tree: Tree) -> None:
    listing = list_images(image_tree({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "raw": 1}))
    assert "passed over: raw" in listing.notes[0]


@pytest.mark.parametrize(("given", "meant"), [("valid", "val"), ("validation", "val"), ("testing", "test")])
def test_a_misnamed_part_is_refused_with_the_right_name(image_tree: Tree, given: str, meant: str) -> None:
    error = refusal(image_tree({"train/a": 2, "train/b": 2, f"{given}/a": 1, f"{given}/b": 1}))
    assert f"rename {given} to {meant}" == error.fix


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "no such folder")
    assert "does not exist" in error.what and "no such folder" in str(error.seen)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert "is a file" in refusal(tmp_path / "photo.jpg").what


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    assert refusal(tmp_path).what == "no images"


def test_images_beside_class_folders_are_noted(image_tree: Tree) -> None:
    listing = list_images(image_tree({"train": 3, "train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1}))
    assert listing.notes == ("data: 3 images outside the class folders of train/ were passed over",)


@pytest.mark.parametrize("where", ["val", "train/c"])
def test_a_part_or_a_class_that_is_a_link_to_nowhere_is_told_and_not_left_out(image_tree: Tree, where: str) -> None:
    root = image_tree({"train/a": 2, "train/b": 2})
    (root / where).symlink_to(root / "not mounted")
    error = refusal(root)
    assert (error.what, error.seen) == ("a link leads nowhere", Path(where).name)


def test_images_outside_class_folders_are_counted(image_tree: Tree) -> None:
    error = refusal(image_tree({".": 4}).resolve())
    assert "4 images outside class folders" in str(error.seen)


def test_files_without_an_image_ending_are_counted_when_there_is_nothing_else(image_tree: Tree) -> None:
    root = image_tree({"a": 0, "b": 0})
    (root / "a" / "features.npy").write_bytes(b"1")
    assert "1 other files" in str(refusal(root).seen)


def test_every_empty_class_folder_is_named(image_tree: Tree) -> None:
    error = refusal(image_tree({"cat": 3, "dog": 0, "owl": 0}))
    assert (error.what, error.seen) == ("2 class folders have no images", "dog, owl")


def test_a_single_class_is_refused(image_tree: Tree) -> None:
    error = refusal(image_tree({"cat": 3}))
    assert (error.what, error.seen) == ("there is only one class", "cat")


def test_val_with_other_classes_lists_both_differences(image_tree: Tree) -> None:
    error = refusal(image_tree({"train/cat": 2, "train/dog": 2, "val/cat": 1, "val/hound": 1}))
    assert error.seen == "only in train: dog; only in val: hound"


def test_test_with_other_classes_is_refused_too(image_tree: Tree) -> None:
    counts = {f"{part}/{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}
    error = refusal(image_tree({**counts, "test/owl": 1}))
    assert error.seen == "only in test: owl"


def test_hidden_files_and_folders_do_not_exist(image_tree: Tree) -> None:
    root = image_tree({"cat": 3, "dog": 3, ".git": 2, "cat/.thumbnails": 2})
    (root / "cat" / "._000.png").write_bytes(b"resource fork")
    (root / "dog" / ".DS_Store").write_bytes(b"")
    listing = list_images(root)
    assert (listing.classes, len(listing.parts["all"]), listing.notes) == (("cat", "dog"), 6, ())


def test_other_files_are_passed_over_and_noted(image_tree: Tree) -> None:
    root = image_tree({"cat": 3, "dog": 3})
    (root / "cat" / "labels.xml").write_text("<x/>")
    assert list_images(root).notes == ("data: 1 files without an image ending were passed over: cat/labels.xml",)


def test_endings_in_capitals_spaces_and_unicode_are_images(image_tree: Tree) -> None:
    root = image_tree({"große Hunde": 2, "猫": 2})
    (root / "猫" / "000.png").rename(root / "猫" / "a b é.PNG")
    assert [item.name for item in list_images(root).parts["all"]][-1] == "猫/a b é.PNG"


def test_images_lie_in_folders_below_the_class_too(image_tree: Tree) -> None:
    listing = list_images(image_tree({"cat/day": 2, "cat/night": 1, "dog": 3}))
    assert [item.name for item in listing.parts["all"] if item.label == 0] == [
        "cat/day/000.png",
        "cat/day/001.png",
        "cat/night/000.png",
    ]


def test_links_are_followed_and_a_circle_of_links_ends(image_tree: Tree, tmp_path: Path) -> None:
    root = image_tree({"cat": 3, "elsewhere/dog": 4})
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "cat").symlink_to(root / "cat")
    (linked / "dog").symlink_to(root / "elsewhere" / "dog")
    (root / "cat" / "again").symlink_to(root / "cat")
    listing = list_images(linked)
    assert (listing.classes, len(listing.parts["all"])) == (("cat", "dog"), 7)


@pytest.mark.parametrize("mode", [0, 0o444])  # not at all; its names, and nothing of what they name
@pytest.mark.parametrize("folder", ["", "dog"])
def test_a_forbidden_folder_is_a_problem_of_this_machine(image_tree: Tree, folder: str, mode: int) -> None:
    root = image_tree({"cat": 3, "dog": 3})
    (root / folder).chmod(mode)
    with as_nobody(root), pytest.raises(EnvironmentProblem) as error:
        list_images(root)
    (root / folder).chmod(0o755)
    assert error.value.where == str(root / folder)


def test_a_class_name_that_is_no_utf8_is_refused_and_a_file_name_is_not(image_tree: Tree) -> None:
    root = image_tree({"cat": 3, "dog": 3})
    image = root / "cat" / "000.png"
    image.rename(image.with_name(os.fsdecode(b"\xff.png")))
    listing = list_images(root)
    hashes = hash_items(listing, root.parent / "memo.json")
    assert hash_items(listing, root.parent / "memo.json") == hashes
    (root / "dog").rename(root / os.fsdecode(b"\xfe"))
    with pytest.raises(InputError) as error:
        list_images(root)
    assert (error.value.where, error.value.seen) == (str(root), "\udcfe")
