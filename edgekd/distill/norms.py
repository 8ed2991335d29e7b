"""BatchNorm over the rows of all processes, so that several train as one would; on every device.

Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, with the mean and variance of the whole batch put together from those
of its equal shares. torch's SyncBatchNorm does the same, on CUDA alone.
Shape suffixes in this file: R rows of one process, C channels, N processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.distill import parallel


@contextmanager
def norms_of_all(*networks: nn.Module) -> Iterator[None]:
    """While inside, every BatchNorm of the networks that goes by its batch's statistics goes by those of all processes."""
    norms = [module for network in networks for module in network.modules() if isinstance(module, _BatchNorm)]
    if parallel.processes() == 1:
        norms = []
    for norm in norms:
        vars(norm)["forward"] = partial(_forward, norm)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]


def _forward(norm: _BatchNorm, x: Tensor) -> Tensor:
    if not norm.training and norm.running_mean is not None:
        return type(norm).forward(norm, x)
    weight_C = norm.weight if norm.affine else torch.ones(norm.num_features, device=x.device)
    bias_C = norm.bias if norm.affine else torch.zeros(norm.num_features, device=x.device)
    normal, mean_C, var_C = _Normalize.apply(x, weight_C, bias_C, norm.eps)
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        momentum = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)  # type: ignore[arg-type]
        count = _count(x)
        norm.running_mean.lerp_(mean_C, momentum)
        norm.running_var.lerp_(var_C * (count / (count - 1)), momentum)
    return normal  # type: ignore[no-any-return]


class _Normalize(torch.autograd.Function):
    """[R, C, …] → the same shape and dtype, and the mean and biased variance of all processes' rows, float32 [C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_C: Tensor, bias_C: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        var_C, mean_C = torch.var_mean(x.float(), _all_but_channels(x), correction=0)
        means_NC, vars_NC = parallel.gathered(torch.stack([mean_C, var_C])[None]).unbind(1)
        mean_C, var_C = means_NC.mean(0), vars_NC.mean(0) + means_NC.var(0, correction=0)
        inverse_C = (var_C + eps).rsqrt()
        ctx.save_for_backward(x, weight_C, mean_C, inverse_C)
        ctx.mark_non_differentiable(mean_C, var_C)
        normal = (x - _along(x, mean_C)) * _along(x, inverse_C * weight_C) + _along(x, bias_C)
        return normal.to(x.dtype), mean_C, var_C

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """With n = (x − mean) / deviation: dx = weight / deviation · (g − mean of g − n · mean of g n), means over all rows."""
        x, weight_C, mean_C, inverse_C = ctx.saved_tensors
        n, g = (x - _along(x, mean_C)) * _along(x, inverse_C), gradient.float()
        own_2C = torch.stack([g.sum(_all_but_channels(x)), (g * n).sum(_all_but_channels(x))])
        mean_g_C, mean_gn_C = parallel.summed(own_2C) / _count(x)
        from_here = (g - _along(x, mean_g_C) - n * _along(x, mean_gn_C)) * _along(x, inverse_C * weight_C)
        bias_C, weight_gradient_C = own_2C
        return from_here.to(x.dtype), weight_gradient_C, bias_C, None


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _count(x: Tensor) -> int:
    """Numbers of a channel, in all processes."""
    return parallel.processes() * x.numel() // x.shape[1]


def _along(x: Tensor, of_channels_C: Tensor) -> Tensor:
    """[C] in the place of the channels of ``x``."""
    return of_channels_C.view(-1, *[1] * (x.dim() - 2))
