"""ImageNet as folders, a handful of pictures."""

from __future__ import annotations

import pytest

from edgekd import data
from edgekd.core import InputError
from edgekd.data.imagenet import list_imagenet

SYNSETS = ("n01440764", "n02012849", "n03126707")
COUNTS = {f"{part}/{synset}": count for part, count in (("train", 4), ("val", 2)) for synset in SYNSETS}


def test_val_is_the_test_and_a_part_of_train_is_held_out(image_tree, section) -> None:
    described = data.describe(section(source="imagenet"), root=image_tree(COUNTS))
    assert described.classes == SYNSETS
    assert (described.counts, described.hflip) == ({"train": 9, "held_out": 3, "test": 6}, True)


@pytest.mark.parametrize(("table", "between"), [("LOC_synset_mapping.txt", " "), ("words.txt", "\t")])
def test_classes_are_called_by_the_first_word_of_a_table_and_numbered_by_synset(image_tree, table: str, between: str) -> None:
    root = image_tree(COUNTS)
    words = {"n03126707": "crane", "n01440764": "tench, Tinca tinca", "n02012849": "crane", "n99999999": "else"}
    (root / table).write_text("".join(f"{synset}{between}{word}\n" for synset, word in words.items()))
    assert list_imagenet(root).classes == ("tench", "crane (n02012849)", "crane (n03126707)")


def test_test_pictures_without_classes_are_not_looked_at(image_tree) -> None:
    root = image_tree({**COUNTS, "test": 3})
    assert set(list_imagenet(root).parts) == {"train", "val"}


def test_validation_pictures_in_one_folder_are_refused_with_the_fix(image_tree) -> None:
    root = image_tree({**{name: count for name, count in COUNTS.items() if name.startswith("train")}, "val": 5})
    with pytest.raises(InputError, match="not sorted into synsets") as error:
        list_imagenet(root)
    assert error.value.seen == "5 pictures" and "val/<synset>" in str(error.value.fix)


@pytest.mark.parametrize("part", ["train", "val"])
def test_both_parts_are_needed(image_tree, part: str) -> None:
    with pytest.raises(InputError, match=f"no {part} here"):
        list_imagenet(image_tree({name: count for name, count in COUNTS.items() if not name.startswith(part)}))


def test_a_synset_without_validation_pictures_is_named(image_tree) -> None:
    counts = {name: count for name, count in COUNTS.items() if name != f"val/{SYNSETS[1]}"}
    with pytest.raises(InputError, match="same classes") as error:
        list_imagenet(image_tree(counts))
    assert SYNSETS[1] in str(error.value.seen)
