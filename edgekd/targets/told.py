"""What the device room raises where this side runs its code, as this side's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekd.core import EdgekdError
from edgekd.device import Problem


@contextmanager
def told_at(where: str) -> Iterator[None]:
    """Within it a Problem becomes the EdgekdError of its code, at ``where``."""
    try:
        yield
    except Problem as problem:
        raise EdgekdError.from_json({**problem.as_json(), "where": where}) from problem
