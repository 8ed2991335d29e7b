"""CIFAR in its published formats, written on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tiny_cifar
from python2_pickle import python2_pickle

from edgekd import data
from edgekd.core import InputError, IntegrityError
from edgekd.data.cifar import list_cifar

WRITE = {"python": tiny_cifar.write_python, "binary": tiny_cifar.write_binary}
SOURCES = ["cifar10", "cifar100"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("version", WRITE)
def test_pixels_labels_and_names_are_those_of_the_files(tmp_path: Path, source: str, version: str) -> None:
    listing = list_cifar(source, WRITE[version](tmp_path, source, per_class=2))
    assert listing.classes == tuple(tiny_cifar.names(source))
    rows, labels = tiny_cifar.pictures(source, 2, seed=1)  # of the first train file
    first = listing.parts["train"][: len(labels)]
    assert [item.label for item in first] == labels
    assert all(
        np.array_equal(item.content[4, 7], row[[4 * 32 + 7, 1024 + 4 * 32 + 7, 2048 + 4 * 32 + 7]])
        for item, row in zip(first, rows, strict=True)
    )
    batches = 5 if source == "cifar10" else 1
    assert {part: len(items) for part, items in listing.parts.items()} == {
        "train": batches * len(labels),
        "test": len(labels) // 2,
    }


@pytest.mark.parametrize("source", SOURCES)
def test_both_versions_are_one_data_set(tmp_path: Path, section, source: str) -> None:
    described = [data.describe(section(source=source, path=str(write(tmp_path, source))), root=None) for write in WRITE.values()]
    assert described[0] == described[1]
    assert described[0].hflip


def test_its_own_test_images_are_the_test_and_a_tenth_of_train_is_held_out(tmp_path: Path, section) -> None:
    path = tiny_cifar.write_python(tmp_path, "cifar10", per_class=4)
    dataset = data.open_dataset(section(source="cifar10", path=str(path), image_size=32), root=None)
    assert dataset.counts == {"train": 180, "held_out": 20, "test": 10}
    rows, _ = tiny_cifar.pictures("cifar10", 1, seed=9)
    assert np.array_equal(dataset.test.images, rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    assert np.bincount(dataset.held_out.labels).tolist() == [2] * 10


def test_the_folder_around_the_versions_own_is_enough_and_few_images_are_noted(tmp_path: Path) -> None:
    tiny_cifar.write_binary(tmp_path, "cifar100")
    (note,) = list_cifar("cifar100", tmp_path).notes
    assert note == "data: cifar100 has 50,000 train and 10,000 test images, here are 300 and 100"


@pytest.mark.parametrize("source", SOURCES)
def test_a_folder_without_it_is_told_what_to_extract(tmp_path: Path, source: str) -> None:
    with pytest.raises(InputError, match=f"no {source} here") as error:
        list_cifar(source, tmp_path)
    assert f"cifar-{source[5:]}-python.tar.gz" in str(error.value.fix)


def test_the_other_cifar_is_not_taken_for_it(tmp_path: Path) -> None:
    folder = tiny_cifar.write_python(tmp_path, "cifar10")
    with pytest.raises(InputError, match="no cifar100 here"):
        list_cifar("cifar100", folder)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("version", WRITE)
def test_every_file_cut_off_or_gone_is_said(tmp_path: Path, source: str, version: str) -> None:
    folder = WRITE[version](tmp_path, source)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2 - 1])
        with pytest.raises(InputError, match=r"damaged|whole records|has 10"):
            list_cifar(source, folder)
        path.unlink()
        with pytest.raises(InputError, match=r"no such file|here"):
            list_cifar(source, folder)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": np.zeros((2, 3071), np.uint8)}, "another size"),
        ({"data": np.zeros((3, 3072), np.uint8)}, "not as many"),
        ({"fine_labels": [0, 100]}, "labels must lie in 0 to 99"),
        ({"fine_labels": [0, -1]}, "labels must lie in 0 to 99"),
        ({"fine_labels": ["0", "1"]}, "must hold data and fine_labels"),
        ({"fine_labels": None}, "must hold data and fine_labels"),
        ({"data": [1, 2]}, "must hold data and fine_labels"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, changes: dict, what: str) -> None:
    folder = tiny_cifar.write_python(tmp_path, "cifar100")
    document = {"fine_labels": [0, 1], "data": np.zeros((2, 3072), np.uint8), **changes}
    (folder / "train").write_bytes(python2_pickle({key: value for key, value in document.items() if value is not None}))
    with pytest.raises(InputError, match=what) as error:
        list_cifar("cifar100", folder)
    assert error.value.where == str(folder / "train")


def test_a_label_of_the_binary_version_that_is_no_class_is_said(tmp_path: Path) -> None:
    folder = tiny_cifar.write_binary(tmp_path, "cifar10")
    (folder / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(InputError, match="labels must lie in 0 to 9"):
        list_cifar("cifar10", folder)


@pytest.mark.parametrize("version", WRITE)
def test_a_file_without_images_is_said(tmp_path: Path, version: str) -> None:
    folder = WRITE[version](tmp_path, "cifar10")
    empty = python2_pickle({"labels": [], "data": np.zeros((0, 3072), np.uint8)}) if version == "python" else b""
    next(folder.glob("test_batch*")).write_bytes(empty)
    with pytest.raises(InputError, match="no images"):
        list_cifar("cifar10", folder)


def test_missing_class_names_are_said(tmp_path: Path) -> None:
    folder = tiny_cifar.write_python(tmp_path, "cifar10")
    (folder / "batches.meta").write_bytes(python2_pickle({"label_names": ["cat"]}))
    with pytest.raises(InputError, match="has 10 classes"):
        list_cifar("cifar10", folder)
    for names in ({"names": ["cat"]}, {"label_names": [1]}, {"label_names": ["cat\x1b[31m"]}, {"label_names": [" "]}):
        (folder / "batches.meta").write_bytes(python2_pickle(names))
        with pytest.raises(InputError, match="no class names"):
            list_cifar("cifar10", folder)
    binary = tiny_cifar.write_binary(tmp_path, "cifar10")
    (binary / "batches.meta.txt").write_text("cat\nd\x1b[31mog")
    with pytest.raises(InputError, match="no class names"):
        list_cifar("cifar10", binary)


@pytest.mark.parametrize("version", ["python", "binary"])
def test_classes_of_the_same_name_are_said_before_anything_is_trained(tmp_path: Path, version: str) -> None:
    folder, names = WRITE[version](tmp_path, "cifar10"), ["cat", *tiny_cifar.names("cifar10")[2:], "cat"]
    (folder / "batches.meta").write_bytes(python2_pickle({"label_names": names}))
    (folder / "batches.meta.txt").write_text("\n".join(names))
    with pytest.raises(InputError, match="has 10 classes") as error:
        list_cifar("cifar10", folder)
    assert error.value.seen == "10 names, 9 of them different"


def test_a_file_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder, ran = tiny_cifar.write_python(tmp_path, "cifar100"), tmp_path / "ran"
    (folder / "train").write_bytes(b"\x80\x02cos\nmkdir\nU" + bytes([len(os.fsencode(ran))]) + os.fsencode(ran) + b"\x85R.")
    with pytest.raises(IntegrityError, match="could run code"):
        list_cifar("cifar100", folder)
    assert not ran.exists()
