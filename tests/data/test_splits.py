from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import InputError
from edgekd.data.digits import list_digits
from edgekd.data.source import Item, Listing
from edgekd.data.splits import split, spread, spread_over_classes

NOTHING = list_digits().parts["all"][0].content
class_sizes = st.lists(st.integers(3, 40), min_size=2, max_size=5)

FIRST_TEST_DIGITS = ["0002", "0008", "0013", "0017", "0021"]


def listed(sizes: list[int]) -> tuple[Item, ...]:
    return tuple(Item(f"c{label}/{i}.png", label, NOTHING) for label, size in enumerate(sizes) for i in range(size))


def listing(sizes: list[int], *parts: str) -> Listing:
    classes = tuple(f"c{label}" for label in range(len(sizes)))
    return Listing(classes, {part: listed(sizes) for part in parts or ("all",)}, hflip=True)  # type: ignore[misc]


@given(class_sizes, st.integers(0, 2**31))
def test_the_three_splits_are_disjoint_and_cover_everything(sizes: list[int], seed: int) -> None:
    names = [item.name for items in split(listing(sizes), seed).values() for item in items]
    assert sorted(names) == sorted(item.name for item in listed(sizes))


@given(class_sizes, st.integers(0, 2**31))
def test_every_class_is_in_every_split_with_its_share_within_one_image(sizes: list[int], seed: int) -> None:
    splits = split(listing(sizes), seed)
    for label, size in enumerate(sizes):
        count = {name: sum(item.label == label for item in items) for name, items in splits.items()}
        assert min(count.values()) >= 1
        assert abs(count["test"] - 0.2 * size) <= 1
        assert abs(count["held_out"] - 0.1 * (size - count["test"])) <= 1


@given(class_sizes, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_the_order_in_which_files_are_listed_changes_nothing(sizes: list[int], seed: int, shuffle: random.Random) -> None:
    items = list(listed(sizes))
    shuffle.shuffle(items)
    straight = listing(sizes)
    assert split(Listing(straight.classes, {"all": tuple(items)}, True), seed) == split(straight, seed)


def test_another_split_seed_tests_on_other_images() -> None:
    one, other = (split(listing([40, 40]), seed) for seed in (0, 1))
    assert set(one["test"]) != set(other["test"])


def test_the_split_of_the_digits_never_changes_between_versions() -> None:
    splits = split(list_digits(), 0)
    assert {name: len(items) for name, items in splits.items()} == {"train": 1293, "held_out": 145, "test": 359}
    assert [item.name for item in splits["test"][:5]] == FIRST_TEST_DIGITS


def test_adding_an_image_moves_few_others() -> None:
    before, after = split(listing([50, 50]), 0), split(listing([51, 50]), 0)
    moved = {item.name for item in before["test"]} - {item.name for item in after["test"]}
    assert len(moved) <= 1


@pytest.mark.parametrize(("parts", "test_part"), [(("train", "val"), "val"), (("train", "test"), "test")])
def test_without_both_val_and_test_a_tenth_of_train_is_held_out(parts: tuple[str, ...], test_part: str) -> None:
    data = listing([20, 30], *parts)
    splits = split(data, 0)
    assert splits["test"] == tuple(sorted(data.parts[test_part], key=lambda item: item.name))  # type: ignore[index]
    assert (len(splits["held_out"]), len(splits["train"])) == (5, 45)


def test_with_val_and_test_val_is_held_out_and_train_stays_whole() -> None:
    data = listing([4, 5], "train", "val", "test")
    assert {name: len(items) for name, items in split(data, 0).items()} == {"train": 9, "held_out": 9, "test": 9}


def test_a_class_too_small_to_split_is_named_with_its_size() -> None:
    with pytest.raises(InputError) as error:
        split(listing([5, 2, 9, 1]), 0)
    assert error.value.seen == "c1 (2), c3 (1)"
    assert "at least 3 images" in str(error.value.fix)


def test_two_images_a_class_are_enough_where_only_held_out_is_split_off() -> None:
    assert len(split(listing([2, 2], "train", "val"), 0)["held_out"]) == 2
    with pytest.raises(InputError):
        split(listing([2, 1], "train", "val"), 0)


@given(class_sizes, st.integers(1, 100), st.integers(0, 99))
def test_spread_takes_classes_evenly_and_each_image_once(sizes: list[int], count: int, seed: int) -> None:
    chosen = spread(listed(sizes), count, seed)
    assert len(set(chosen)) == len(chosen) == min(count, sum(sizes))
    taken = [sum(item.label == label for item in chosen) for label in range(len(sizes))]
    level = max(taken)
    assert all(one >= level - 1 or one == size for one, size in zip(taken, sizes, strict=True))


@given(class_sizes, st.integers(1, 40), st.integers(0, 2**31))
def test_few_train_images_a_class_leave_the_other_splits_as_they_are(sizes: list[int], per_class: int, seed: int) -> None:
    all_of_them, few = split(listing(sizes), seed), split(listing(sizes), seed, per_class)
    assert (few["held_out"], few["test"]) == (all_of_them["held_out"], all_of_them["test"])
    assert set(few["train"]) <= set(all_of_them["train"])
    for label in range(len(sizes)):
        there, kept = (sum(item.label == label for item in one["train"]) for one in (all_of_them, few))
        assert kept == min(there, per_class)


@given(class_sizes, st.integers(1, 20), st.integers(0, 99))
def test_more_train_images_a_class_are_those_of_fewer_and_some_besides(sizes: list[int], per_class: int, seed: int) -> None:
    fewer, more = (set(split(listing(sizes), seed, count)["train"]) for count in (per_class, per_class + 3))
    assert fewer <= more


def test_another_split_seed_keeps_other_train_images() -> None:
    one, other = (split(listing([40, 40], "train", "val", "test"), seed, 5)["train"] for seed in (0, 1))
    assert set(one) != set(other)


def test_a_few_images_come_from_every_class_in_turn():
    assert spread_over_classes(np.array([0, 0, 0, 1, 2, 1]), 4).tolist() == [0, 1, 3, 4]
