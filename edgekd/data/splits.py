"""Which image is trained on, which is held out to choose by, and which is only for the final test.

An image's place is decided by a hash of the split seed, its class and its name: the same on every machine and for every training
seed, whatever order the file system lists files in, and hardly changed when a data set grows.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.core import InputError
from edgekd.data.source import Item, Listing

TEST_SHARE = 0.2
HELD_OUT_SHARE = 0.1

Splits = dict[str, tuple[Item, ...]]


def split(listing: Listing, split_seed: int, train_per_class: int | None = None) -> Splits:
    """Return {"train", "held_out", "test"}: disjoint, covering every item, each class in each of the three, sorted by name.

    One part "all": 20 % of each class are the test, then 10 % of the rest are held out. "train" and "val": val is the test, 10 %
    of train are held out. "train" and "test": the same with test. All three: val is held out, test is the test. Shares are
    rounded to whole images, at least one a class. train_per_class: then keep at most that many train images a class; more are
    those of fewer and some besides. Raises InputError, naming the classes, where a class is too small for that.
    """
    parts = listing.parts
    if "all" in parts:
        _require(parts["all"], listing.classes, least=3, why="one image each to train on, to hold out and to test on")
        rest, test = _take(parts["all"], TEST_SHARE, split_seed, "test")
        train, held_out = _take(rest, HELD_OUT_SHARE, split_seed, "held_out")
    elif "val" in parts and "test" in parts:
        train, held_out, test = (_by_name(parts[part]) for part in ("train", "val", "test"))
    else:
        _require(parts["train"], listing.classes, least=2, why="one image each to train on and to hold out")
        train, held_out = _take(parts["train"], HELD_OUT_SHARE, split_seed, "held_out")
        test = _by_name(parts["val"] if "val" in parts else parts["test"])
    if train_per_class is not None:
        train = _few(train, train_per_class, split_seed)
    return {"train": train, "held_out": held_out, "test": test}


def spread(items: Sequence[Item], count: int, seed: int) -> tuple[Item, ...]:
    """Choose ``count`` items (all, if there are fewer) with the classes as even as they allow, by hash; sorted by name."""
    queues = [sorted(group, key=lambda item: _rank(item, seed, "spread")) for _, group in sorted(_by_class(items).items())]
    turns = sorted((turn, which) for which, queue in enumerate(queues) for turn in range(len(queue)))
    return _by_name([queues[which][turn] for turn, which in turns[:count]])


def spread_over_classes(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of up to ``count`` images, sorted: the first of every class, then the second of every class, and so on."""
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        turn[rows] = np.arange(len(rows))
    return np.sort(np.argsort(turn, kind="stable")[:count])


def _take(items: Sequence[Item], share: float, seed: int, purpose: str) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Move ``share`` of each class (rounded, at least one) out of ``items``: (what stays, what is taken)."""
    stays: list[Item] = []
    taken: list[Item] = []
    for group in _by_class(items).values():
        ranked = sorted(group, key=lambda item: _rank(item, seed, purpose))
        count = max(1, int(len(ranked) * share + 0.5))
        taken += ranked[:count]
        stays += ranked[count:]
    return _by_name(stays), _by_name(taken)


def _few(items: Sequence[Item], per_class: int, seed: int) -> tuple[Item, ...]:
    groups = (sorted(group, key=lambda item: _rank(item, seed, "few")) for group in _by_class(items).values())
    return _by_name([item for group in groups for item in group[:per_class]])


def _rank(item: Item, seed: int, purpose: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}/{purpose}/{item.name}".encode("utf-8", "surrogateescape")).digest(), item.name


def _by_class(items: Sequence[Item]) -> dict[int, list[Item]]:
    groups: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.label].append(item)
    return groups


def _by_name(items: Sequence[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: item.name))


def _require(items: Sequence[Item], classes: Sequence[str], *, least: int, why: str) -> None:
    sizes = {label: len(group) for label, group in _by_class(items).items()}
    small = [f"{name} ({sizes.get(label, 0)})" for label, name in enumerate(classes) if sizes.get(label, 0) < least]
    if small:
        listed = ", ".join(small[:10]) + (f" and {len(small) - 10} more" if len(small) > 10 else "")
        raise InputError(
            f"{len(small)} of {len(classes)} classes have too few images to be split",
            where="data",
            seen=listed,
            fix=f"every class needs at least {least} images: {why}",
        )
