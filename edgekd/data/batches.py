"""Batches of views for a training loop that can stop anywhere and go on to the same bits, and plain batches to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekd.core import InputError
from edgekd.data.augment import VIEWS, normalized, strong_view, weak_view
from edgekd.data.dataset import Split
from edgekd.data.resident import taken
from edgekd.device import normalize

_MAKE = dict(zip(VIEWS, (weak_view, strong_view), strict=True))


class Batches:
    """Iterate for one epoch (or the rest of one) of ({view: float32 [B,3,H,W]}, labels int64 [B]), both on ``device``.

    Every random number is a function of (seed, epoch, batch number), so the state is those two counters: after
    load_state_dict the very batches follow that would have followed. Each epoch draws a new order; what does not fill a last
    batch is left out of that epoch, unless the whole split is one batch.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        views: Sequence[str] = ("weak",),
        preprocessing: Mapping[str, Any],
        hflip: bool,
        seed: int,
        device: torch.device | str = "cpu",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """preprocessing: the data set's; its image_size is that of the views. share: (which, of how many): only this one of each
        batch's equal parts is made, as it would be in the whole.

        Raises InputError: less than two images a batch, or no equal parts.
        """
        if min(batch_size, len(split)) < 2:
            seen = f"batch_size {batch_size}, {len(split)} images"
            raise InputError(
                "a training batch needs at least two images: one has no batch statistics", where="batch_size", seen=seen
            )
        self._split, self._views, self._preprocessing, self._hflip = split, tuple(views), preprocessing, hflip
        self._seed, self._device = seed, torch.device(device)
        self.batch_size, self._share = min(batch_size, len(split)), share  # of the whole, of all processes
        if self.batch_size % share[1]:
            what = f"a batch cannot be parted into {share[1]} equal shares, one for each process"
            seen = f"{self.batch_size} images" + (
                f", all there are to train on (batch_size {batch_size})" if len(split) < batch_size else ""
            )
            raise InputError(what, where="batch_size", seen=seen, fix=f"a batch_size that is a multiple of {share[1]}")
        self.epoch = 0  # of the next batch, from 0
        self.position = 0  # of the next batch in its epoch

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self._split) // self.batch_size

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        epoch, order = self.epoch, np.argsort(_random(self._seed, self.epoch).random(len(self._split)), kind="stable")
        while self.epoch == epoch:
            rows = np.sort(order[self.position * self.batch_size : (self.position + 1) * self.batch_size])
            made = self._make(np.split(rows, self._share[1])[self._share[0]], epoch, self.position)
            self.position += 1
            if self.position == len(self):
                self.epoch, self.position = epoch + 1, 0
            yield made

    def _make(self, rows: np.ndarray[Any, Any], epoch: int, position: int) -> tuple[dict[str, Tensor], Tensor]:
        images, labels = taken(self._split, rows, self._device)
        views = {}
        for view in self._views:
            generator = torch.Generator().manual_seed(
                int(_random(self._seed, epoch, position, VIEWS.index(view)).integers(2**63))
            )
            made = _MAKE[view](
                images, self._preprocessing["image_size"], hflip=self._hflip, generator=generator, share=self._share
            )
            views[view] = normalized(made, self._preprocessing)
        return views, labels

    def state_dict(self) -> dict[str, int]:
        """Where the next batch is, plus what must not differ when it is loaded."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "seed": self._seed,
            "images": len(self._split),
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Raises InputError if the state is that of other images, another seed or batch size."""
        own = self.state_dict()
        if differing := [key for key in ("seed", "images", "batch_size") if state[key] != own[key]]:
            seen = ", ".join(f"{key} {state[key]}, now {own[key]}" for key in differing)
            raise InputError(
                "the checkpoint is of another training", where="checkpoint", seen=seen, fix="start the training anew"
            )
        self.epoch, self.position = state["epoch"], state["position"]


def eval_batches(split: Split, preprocessing: Mapping[str, Any], batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
    """(float32 [B,3,H,W], int64 [B]) over the whole split in order, on the host, made as the application makes its inputs."""
    for start in range(0, len(split), batch_size):
        images = np.ascontiguousarray(split.images[start : start + batch_size])
        yield torch.from_numpy(normalize(images, dict(preprocessing))), torch.from_numpy(split.labels[start : start + batch_size])


def _random(*key: int) -> np.random.Generator:
    """PCG64 seeded by all of ``key``; its random() and integers() are stable across numpy versions."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
