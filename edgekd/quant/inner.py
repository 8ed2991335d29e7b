"""What a network that rounds has at its sites."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.quant.sites import Site


def inner_sites(network: nn.Module) -> Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]:
    """Takes images float32 [N,C,H,W] and gives the values at each site by its name, float32, as ``network`` goes on with them.

    network: of ``Quantized.trainable``, in eval mode.
    """
    found: dict[str, NDArray[Any]] = {}

    def keep(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        found[name] = output.numpy()

    for module in network.modules():
        if isinstance(module, Site):
            module.register_forward_hook(partial(keep, module.name))

    def run(images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        found.clear()
        with torch.inference_mode():
            network(torch.from_numpy(images))
        return dict(found)

    return run
