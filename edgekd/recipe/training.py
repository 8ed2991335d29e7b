"""Training: the keys of every section that trains. SGD with momentum, linear warm-up, cosine to zero or steps."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from edgekd.recipe.section import NotNegative, Positive, Section


def _rising(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("must rise", "such as [0.6, 0.8]")
    return value


Milestones = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False, max_length=32), AfterValidator(_rising)
]


def part_of_batch(batch_size: int, share: float) -> int:
    """Images in a share of a batch: a multiple of 8, whatever the number of processes, so that most numbers of them part it
    equally; never more than the batch, and all of it for a share of 1."""
    return batch_size if share == 1 else min(batch_size, max(8, 8 * round(share * batch_size / 8)))


def batches_of(images: int, batch_size: int) -> tuple[int, int]:
    """Of an epoch over so many images: how many whole batches it has, and how many images each of them."""
    size = min(batch_size, images)
    return images // max(1, size), size


class Training(Section):
    """Times are shares of the training or epochs, never steps.

    warmup: over which the learning rate rises from zero. milestones: after each the learning rate falls to a tenth; without
    any, it falls along a cosine. gradient_norm: gradients above are scaled down to it; null: never.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 5e-4
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    milestones: Milestones = ()
    gradient_norm: Positive | None = 5.0

    @property
    def least_batch(self) -> int:
        """Images that a batch must have: one has no batch statistics."""
        return 2
