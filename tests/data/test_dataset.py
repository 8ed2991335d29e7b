from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd import data
from edgekd.core import EnvironmentProblem, InputError
from edgekd.data import decode as decoding
from edgekd.data.dataset import channel_statistics, geometries
from edgekd.data.imagefolder import list_images
from edgekd.device import decode

Tree = Callable[[Mapping[str, int]], Path]
Section = Callable[..., Any]


def test_describing_says_what_opening_gives(section: Section, image_tree: Tree) -> None:
    root = image_tree({"cat": 10, "dog": 20})
    described, opened = data.describe(section(), root=root), data.open_dataset(section(), root=root)
    assert described.counts == opened.counts == {"train": 21, "held_out": 3, "test": 6}
    assert described.counts == {name: len(getattr(opened, name)) for name in ("train", "held_out", "test")}
    assert (described.classes, described.hflip) == (opened.classes, opened.hflip) == (("cat", "dog"), True)
    assert described.as_json()["classes"] == ["cat", "dog"]


def test_a_described_dataset_is_not_decoded(section: Section, image_tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = image_tree({"cat": 5, "dog": 5})
    monkeypatch.setattr(decoding, "decode", lambda *_: pytest.fail("decoded"))
    data.describe(section(), root=root)
    data.open_dataset(section(), root=root)


def test_images_labels_and_names_belong_together(section: Section, image_tree: Tree) -> None:
    root = image_tree({"cat": 8, "dog": 8})
    dataset = data.open_dataset(section(), root=root)
    for split in (dataset.train, dataset.held_out, dataset.test):
        for image, label, name in zip(split.images, split.labels, split.names, strict=True):
            assert name.startswith(dataset.classes[label])
            assert np.array_equal(image, decode(root / name, dataset.preprocessing))
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)


def test_test_images_are_those_of_the_app_and_train_images_keep_a_margin(section: Section, image_tree: Tree) -> None:
    root = image_tree({"cat": 4, "dog": 4})
    dataset = data.open_dataset(section(image_size=64), root=root)
    assert dataset.train.images.shape[1:] == (73, 73, 3)
    assert dataset.test.images.shape[1:] == dataset.held_out.images.shape[1:] == (64, 64, 3)
    assert np.array_equal(dataset.test.images[0], decode(root / dataset.test.names[0], dataset.preprocessing))
    calibration = dataset.calibration(3)
    assert calibration.images.shape == (3, 64, 64, 3) and set(calibration.names) <= set(dataset.train.names)


def test_calibration_takes_at_most_the_train_images(section: Section) -> None:
    dataset = data.open_dataset(section(source="digits", image_size=8), root=None)
    chosen = dataset.calibration(100)
    assert np.bincount(chosen.labels).tolist() == [10] * 10
    assert len(dataset.calibration(10**6)) == dataset.counts["train"]


@pytest.mark.parametrize(("size", "evaluation", "train"), [(32, [32, 32], [32, 32]), (224, [224, 224], [256, 256])])
def test_square_sizes_keep_the_aspect_ratio(size: int, evaluation: list[int], train: list[int]) -> None:
    at_test, at_train = geometries(size)
    assert (at_test["image_size"], at_test["resize"]) == (evaluation, {"shorter": train[0]})
    assert (at_train["image_size"], at_train["resize"]) == (train, {"shorter": train[0]})


def test_other_sizes_are_resized_exactly(section: Section, image_tree: Tree) -> None:
    root = image_tree({"a": 3, "b": 3})  # 12 high, 20 wide
    dataset = data.open_dataset(section(image_size=[12, 20]), root=root)
    assert dataset.preprocessing["resize"] == {"exact": [12, 20]}
    with Image.open(root / dataset.test.names[0]) as image:
        assert np.array_equal(dataset.test.images[0], np.asarray(image))


def test_mean_and_std_are_those_of_the_train_images(section: Section) -> None:
    dataset = data.open_dataset(section(source="digits", image_size=16), root=None)
    scaled = dataset.train.images / 255
    assert dataset.preprocessing["mean"] == pytest.approx(scaled.mean((0, 1, 2)), abs=5.1e-5)
    assert dataset.preprocessing["std"] == pytest.approx(scaled.std((0, 1, 2)), abs=5.1e-5)


def test_given_normalization_is_used_and_decodes_nothing(section: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "decode", lambda *_: pytest.fail("decoded"))
    dataset = data.open_dataset(section(source="digits"), root=None, normalization=data.IMAGENET)
    assert (dataset.preprocessing["mean"], dataset.preprocessing["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_a_channel_that_never_changes_can_still_be_divided_by() -> None:
    assert channel_statistics(np.full((3, 4, 4, 3), 51, np.uint8)) == ([0.2] * 3, [0.0039] * 3)


def test_digits_are_not_mirrored_unless_the_recipe_says_so(section: Section) -> None:
    assert data.describe(section(source="digits"), root=None).hflip is False
    assert data.describe(section(source="digits", hflip=True), root=None).hflip is True


@pytest.mark.parametrize(("given", "where"), [({"source": "cifar"}, "data.source"), ({"path": None}, "data.path")])
def test_a_source_that_is_none_is_refused(section: Section, given: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as error:
        data.describe(section(**given), root=None)
    assert error.value.where == where


def test_corrupt_images_are_counted_and_the_first_ten_named(section: Section, image_tree: Tree) -> None:
    root = image_tree({"cat": 30, "dog": 30})
    for i in range(12):
        path = root / "dog" / f"{i:03d}.png"
        path.write_bytes((path.read_bytes()[:100], b"", b"not an image")[i % 3])
    dataset = data.open_dataset(section(), root=root)
    with pytest.raises(InputError) as error:
        dataset.check_readable()
    assert error.value.what == "12 of 60 images cannot be read"
    assert str(error.value.seen).count("dog/") == 10 and str(error.value.seen).endswith("and 2 more")
    assert error.value.where == str(root / "dog")


def test_a_file_that_is_gone_when_its_turn_comes_is_named(section: Section, image_tree: Tree) -> None:
    root = image_tree({"cat": 3, "dog": 3})
    dataset = data.open_dataset(section(), root=root)
    (root / "cat" / "001.png").unlink()
    with pytest.raises(InputError) as error:
        dataset.check_readable()
    assert str(error.value.seen).startswith("cat/001.png (cannot open the image: No such file")


def test_whoever_does_not_ask_for_test_has_not_opened_it(section: Section, image_tree: Tree) -> None:
    root = image_tree({"train/a": 4, "train/b": 4, "test/a": 1, "test/b": 1})
    (root / "test/a/000.png").write_bytes(b"broken")
    dataset = data.open_dataset(section(), root=root)
    assert len(dataset.train) + len(dataset.held_out) == 8
    with pytest.raises(InputError, match="1 of 2 images"):
        _ = dataset.test


def test_any_colour_mode_and_a_misleading_ending_are_read(section: Section, image_tree: Tree) -> None:
    root = image_tree({"a": 3, "b": 3})
    for i, mode in enumerate(("L", "RGBA", "P", "CMYK", "1", "LA")):
        Image.new(mode, (9, 7)).save(root / "a" / f"mode{i}.{'jpg' if mode == 'CMYK' else 'png'}")
    (root / "b" / "000.png").rename(root / "b" / "really_png.jpg")
    data.open_dataset(section(), root=root).check_readable()


def test_a_large_array_lies_in_a_file_without_a_name(image_tree: Tree, tmp_path: Path) -> None:
    items = list_images(image_tree({"a": 3, "b": 3})).parts["all"]
    spec, scratch = geometries(16)[0], tmp_path / "scratch"
    mapped = decoding.decode_all(items, spec, scratch=scratch, in_memory=100)
    assert isinstance(mapped, np.memmap) and list(scratch.iterdir()) == []
    assert np.array_equal(mapped, decoding.decode_all(items, spec))


def test_a_disk_too_small_for_the_images_is_said_before_decoding(
    image_tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    items = list_images(image_tree({"a": 3, "b": 3})).parts["all"]
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(EnvironmentProblem) as error:
        decoding.decode_all(items, geometries(512)[0], scratch=tmp_path, in_memory=100)
    assert "GB needed" in str(error.value.seen) and error.value.exit_code == 5


def test_inputs_in_parts_are_those_of_the_whole_split_in_order(section: Section, image_tree: Tree) -> None:
    images = data.open_dataset(section(), root=image_tree({"cat": 10, "dog": 20}))
    whole = data.model_inputs(images.test, images.preprocessing)
    parts = list(data.input_chunks(images.test, images.preprocessing, most_bytes=whole[:4].nbytes))
    assert [len(part) for part in parts] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_few_train_images_a_class_are_counted_noted_and_the_only_ones_used(section):
    few = section(source="digits", image_size=8, train_per_class=5)
    described, opened = data.describe(few, root=None), data.open_dataset(few, root=None)
    assert described.counts == opened.counts == {"train": 50, "held_out": 145, "test": 359}
    note = "data: train_per_class keeps 50 of 1,293 train images"
    assert note in described.notes and note in opened.notes
    assert set(opened.calibration(1000).names) == set(opened.train.names)
    assert np.bincount(opened.train.labels).tolist() == [5] * 10
