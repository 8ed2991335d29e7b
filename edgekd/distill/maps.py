"""What modules inside a network put out, taken while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


@contextmanager
def tapped(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While inside, each forward pass puts the outputs of the named modules into the dict; the latest stays."""
    taken: dict[str, Tensor] = {}

    def take(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        taken[name] = output

    handles = [network.get_submodule(name).register_forward_hook(partial(take, name)) for name in dict.fromkeys(names)]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()
