"""How far the tensors inside several executions of one network part, from each to the next, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.stages.signal import decibels

Execution = Callable[[NDArray[np.float32]], Mapping[str, NDArray[Any]]]


@dataclass
class _Sums:
    signal: float = 0.0
    noise: float = 0.0


def apart(executions: Sequence[Execution], images: Iterable[NDArray[np.float32]]) -> list[dict[str, float]]:
    """Of each execution and the next: the SQNR in dB by tensor, in the first one's order, of those that both have in one shape.

    executions: each takes one image float32 [1,C,H,W] and gives its tensors by name.
    """
    hops: list[dict[str, _Sums]] = [{} for _ in executions[1:]]
    for image in images:
        found = [execution(image) for execution in executions]
        for sums, (before, after) in zip(hops, pairwise(found), strict=True):
            for name, value in before.items():
                other = after.get(name)
                if other is not None and other.shape == value.shape and _is_float(value) and _is_float(other):
                    _add(sums.setdefault(name, _Sums()), value, other)
    return [{name: decibels(one.signal, one.noise) for name, one in sums.items()} for sums in hops]


def _is_float(value: NDArray[Any]) -> bool:
    return bool(np.issubdtype(value.dtype, np.floating))


def _add(sums: _Sums, reference: NDArray[Any], other: NDArray[Any]) -> None:
    signal = reference.astype(np.float64).ravel()
    with np.errstate(invalid="ignore"):  # infinity less infinity is no number, and so said by the result
        noise = signal - other.ravel()
    sums.signal += float(signal @ signal)
    sums.noise += float(noise @ noise)
