"""Training: the keys of every section that trains. SGD with momentum, linear warm-up, cosine to zero."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgekd.recipe.section import NotNegative, Section


class Training(Section):
    """warmup: share of the training over which the learning rate rises from zero. Times are shares or epochs, never steps."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64  # one image has no batch statistics
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 5e-4
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
