from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.core import InputError
from edgekd.data import Batches, Split, eval_batches, resident
from edgekd.data.dataset import geometries
from edgekd.device import normalize

PREPROCESSING = {**geometries(8)[0], "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def numbered(count: int) -> Split:
    """Image i is labelled i, so a label tells which image it was."""
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return Split(images, np.arange(count), tuple(str(i) for i in range(count)))


def batches(count: int = 20, **given: Any) -> Batches:
    options = {"batch_size": 4, "views": ("weak", "strong"), "preprocessing": PREPROCESSING, "hflip": True, "seed": 0}
    return Batches(numbered(count), **{**options, **given})


def flat(epoch: Any) -> list[torch.Tensor]:
    return [tensor for views, labels in epoch for tensor in (*views.values(), labels)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12))
def test_an_epoch_shows_each_image_once_in_whole_batches(count: int, batch_size: int) -> None:
    loader = batches(count, batch_size=batch_size, views=("weak",))
    labels = [labels for _, labels in loader]
    seen = torch.cat(labels).tolist()
    assert len(set(seen)) == len(seen) > count - batch_size
    assert {len(one) for one in labels} == {min(batch_size, count)}
    assert len(labels) == len(loader)


def test_views_are_float32_images_on_the_same_rows() -> None:
    views, labels = next(iter(batches()))
    assert list(views) == ["weak", "strong"]
    assert all((view.shape, view.dtype) == ((4, 3, 8, 8), torch.float32) for view in views.values())
    assert labels.dtype == torch.int64
    assert all(view.min() >= 0 and view.max() <= 1 for view in views.values())


@pytest.mark.parametrize("shares", [2, 4])
def test_shares_laid_end_to_end_are_the_batch(shares: int) -> None:
    parts = [flat(batches(share=(which, shares))) for which in range(shares)]
    assert same([torch.cat(parts_of_one) for parts_of_one in zip(*parts, strict=True)], flat(batches()))


def test_a_batch_without_equal_shares_is_refused() -> None:
    with pytest.raises(InputError, match="3 equal shares") as refused:
        batches(share=(0, 3))
    assert (refused.value.seen, refused.value.fix) == ("4 images", "a batch_size that is a multiple of 3")
    with pytest.raises(InputError) as refused:
        batches(count=3, share=(0, 2))
    assert refused.value.seen == "3 images, all there are to train on (batch_size 4)"


def test_each_epoch_has_its_own_order_and_views() -> None:
    loader = batches()
    one, two = flat(loader), flat(loader)
    assert not same(one, two)
    assert same(one, flat(batches()))


def test_another_seed_gives_other_batches() -> None:
    assert not same(flat(batches(seed=0)), flat(batches(seed=1)))


@pytest.mark.parametrize("stop_after", [1, 3, 5, 7])
def test_a_resumed_loader_goes_on_bit_for_bit(stop_after: int) -> None:
    whole = batches()
    expected = flat(whole) + flat(whole)
    stopped, made = batches(), []
    while len(made) < 3 * stop_after:
        for views, labels in stopped:
            made += [*views.values(), labels]
            state = copy.deepcopy(stopped.state_dict())
            if len(made) == 3 * stop_after:
                break
    resumed = batches()
    resumed.load_state_dict(state)
    while resumed.epoch < 2:
        made += flat(resumed)
    assert same(made, expected)


def test_the_weak_view_is_the_same_with_and_without_a_strong_one() -> None:
    both, alone = next(iter(batches()))[0], next(iter(batches(views=("weak",))))[0]
    assert torch.equal(both["weak"], alone["weak"])


@pytest.mark.parametrize("given", [{"seed": 1}, {"batch_size": 5}, {"count": 21}])
def test_the_state_of_another_training_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(InputError) as error:
        batches(**given).load_state_dict(batches().state_dict())
    assert next(iter(given)).removeprefix("count") in str(error.value.seen)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (20, 1), (20, 0)])
def test_a_batch_of_one_is_refused(count: int, batch_size: int) -> None:
    with pytest.raises(InputError, match="at least two images"):
        batches(count, batch_size=batch_size)


def test_evaluation_sees_every_image_in_order_as_the_app_makes_it() -> None:
    split = numbered(11)
    found = list(eval_batches(split, PREPROCESSING, 4))
    assert [len(labels) for _, labels in found] == [4, 4, 3]
    assert torch.cat([labels for _, labels in found]).tolist() == list(range(11))
    assert np.array_equal(torch.cat([images for images, _ in found]).numpy(), normalize(split.images, PREPROCESSING))


def mapped_read_only(split: Split, folder: Any) -> Split:
    np.save(folder / "images.npy", split.images)
    return Split(np.load(folder / "images.npy", mmap_mode="r"), split.labels, split.names)


def test_images_mapped_read_only_from_a_file_are_batched_too(tmp_path: Any) -> None:
    split = numbered(6)
    mapped = mapped_read_only(split, tmp_path)
    options = {"batch_size": 3, "preprocessing": PREPROCESSING, "hflip": False, "seed": 0}
    assert same(flat(Batches(mapped, **options)), flat(Batches(split, **options)))
    assert len(list(eval_batches(mapped, PREPROCESSING))) == 1


def test_a_device_with_room_keeps_the_images_once_for_all_streams_and_the_batches_are_the_same(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"batch_size": 4, "views": ("weak", "strong"), "preprocessing": PREPROCESSING, "hflip": True}
    carried = [flat(Batches(numbered(20), seed=seed, **options)) for seed in (0, 1)]
    split, asked = mapped_read_only(numbered(20), tmp_path), []
    monkeypatch.setattr(resident, "has_room", lambda device, size: asked.append(size) or True)
    assert all(same(flat(Batches(split, seed=seed, **options)), carried[seed]) for seed in (0, 1))
    assert asked == [split.images.nbytes]


def test_the_host_keeps_no_second_copy_of_the_images() -> None:
    assert not resident.has_room(torch.device("cpu"), 1)
