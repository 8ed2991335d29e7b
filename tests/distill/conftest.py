"""A toy task small enough to train in a second: three classes told apart by which colour is brightest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

torch.set_num_threads(1)


def colours(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy 6×6 pictures [N, 3, 6, 6] and the index of their brightest colour."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=draw)
    pictures = torch.randn(count, 3, 6, 6, generator=draw)
    pictures[torch.arange(count), labels] += 0.7
    return pictures, labels


class ToyBatches:
    """``steps`` batches an epoch from one stream of numbers, resumable between any two of them."""

    def __init__(self, steps: int = 6, size: int = 16, seed: int = 0) -> None:
        self.steps, self.size, self.step = steps, size, 0
        self.pictures, self.labels = colours(steps * size, seed)
        self.draw = torch.Generator().manual_seed(seed + 1)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        while self.step < self.steps:
            chosen = torch.randint(0, len(self.labels), (self.size,), generator=self.draw)
            weak = self.pictures[chosen]
            strong = weak + 0.3 * torch.randn(weak.shape, generator=self.draw)
            self.step += 1
            yield {"weak": weak, "strong": strong}, self.labels[chosen]
        self.step = 0

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "draw": self.draw.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.draw.set_state(state["draw"])


def toy_network(seed: int = 0, width: int = 8) -> nn.Sequential:
    """A network with all that makes resuming hard: BatchNorm, dropout, a depthwise convolution on a map below its kernel."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(width * 4, 3),
    )


def held_out_top1(network: nn.Module) -> float:
    pictures, labels = colours(200, seed=99)
    return float((network(pictures).argmax(1) == labels).float().mean())


@pytest.fixture
def batches() -> ToyBatches:
    return ToyBatches()


@pytest.fixture
def network() -> Callable[..., nn.Sequential]:
    return toy_network


@pytest.fixture
def top1() -> Callable[[nn.Module], float]:
    return held_out_top1


@pytest.fixture
def more_batches() -> Callable[[int, float], ToyBatches]:
    return lambda number, share: ToyBatches(size=max(4, round(16 * share)), seed=100 * number)
