"""A student's answers to several views of the same images, from one forward pass where that is faster; the same either way.

One pass over views laid end to end is not the same by itself: BatchNorm would normalise them by common statistics. Here each
view is normalised by its own, and running statistics take the views in one after another, as in passes of their own.

Whether it is faster is a question of size. Measured with torch 2.15 on one AVX2 core, a training step over two views takes this
many times as long in two passes as in one: 1.2 to 1.3 at up to 16,384 pixels a view (MobileNetV2 on 16 pictures of 32² and, at a
quarter of its width, on 64 of 16²; ResNet-18 and -20 on 64 of 8²), 0.84 to 1.1 above (ResNet-8x4, ResNet-20, MobileNetV2 on 32 to
64 of 32²), where maps of twice the batch leave the caches (so do a frozen ResNet-32x4's: 0.9). A GPU has no such limit, and half
the launches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

MOST_PIXELS_ON_CPU = 128 * 128  # of one view's batch


def answers(network: nn.Module, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """View → images [B, 3, H, W] to view → output [B, …], in the network's own mode and precision, with graph.

    Outputs, running statistics and gradients equal those of one pass a view in the order of the mapping, up to the rounding of
    sums; random draws inside the network (dropout) are others. Rows may know of each other through BatchNorm modules only.
    """
    if len(images) == 1 or not one_pass_pays(next(iter(images.values()))):
        return {view: network(pictures) for view, pictures in images.items()}
    return in_one_pass(network, images)


def one_pass_pays(pictures: Tensor) -> bool:
    """Are several batches of the size of this one answered faster together than one after another?"""
    return not pictures.is_cpu or pictures.shape[0] * pictures.shape[2:].numel() <= MOST_PIXELS_ON_CPU


def in_one_pass(network: nn.Module, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As ``answers``, whatever the size."""
    with _apart(network, len(images)):
        together = network(torch.cat(list(images.values())))
    return dict(zip(images, together.chunk(len(images)), strict=True))


@contextmanager
def _apart(network: nn.Module, parts: int) -> Iterator[None]:
    """While inside, every BatchNorm that goes by its batch's statistics takes a batch of ``parts`` · B as ``parts`` batches."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    replaced = [vars(norm).get("forward") for norm in norms]  # by those that span several processes, say
    for norm in norms:
        vars(norm)["forward"] = partial(_each, norm, norm.forward, parts)
    try:
        yield
    finally:
        for norm, forward in zip(norms, replaced, strict=True):
            if forward is None:
                del vars(norm)["forward"]
            else:
                vars(norm)["forward"] = forward


def _each(norm: _BatchNorm, forward: Callable[[Tensor], Tensor], parts: int, x: Tensor) -> Tensor:
    if not norm.training and norm.running_mean is not None:
        return forward(x)
    return torch.cat([forward(part) for part in x.chunk(parts)])
