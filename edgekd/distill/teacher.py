"""The frozen teacher: logits for all views, never a gradient, never a changed statistic; and several as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill.method import in_full
from edgekd.distill.views import one_pass_pays


class FrozenTeacher:
    """A network that only answers. It is put in eval mode before each answer, whatever others did to it meanwhile."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @torch.no_grad()
    def logits(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """View → images [B, 3, H, W] to view → logits [B, C], float32. In eval mode one forward and several are the same."""
        self.network.eval()
        if not one_pass_pays(next(iter(views.values()))):
            return {view: in_full(self.network(pictures)) for view, pictures in views.items()}
        together = in_full(self.network(torch.cat(list(views.values()))))
        return dict(zip(views, together.chunk(len(views)), strict=True))


class Consensus(nn.Module):
    """Logits [B, C] whose probabilities at ``temperature`` are the mean of those of the networks.

    KL to them is the mean of the KLs to each network, but for a constant: the gradient is the same.
    """

    def __init__(self, networks: Sequence[nn.Module], temperature: float) -> None:
        super().__init__()
        self.networks, self.temperature = nn.ModuleList(networks), temperature

    def forward(self, images: Tensor) -> Tensor:
        each = [F.log_softmax(in_full(network(images)) / self.temperature, 1) for network in self.networks]
        return self.temperature * (torch.logsumexp(torch.stack(each), 0) - math.log(len(each)))
