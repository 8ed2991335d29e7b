"""The frozen teacher: logits for all views, never a gradient, never a changed statistic; and several as one."""

from __future__ import annotations

import copy
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


def in_bf16(network: nn.Module) -> nn.Module:
    """A frozen copy that answers the same under autocast to bfloat16, sooner: its convolutions and linear layers have their
    weights in bfloat16, which autocast would make anew for each pass, since it keeps only those that want a gradient."""
    if not _cast(network):  # an ONNX file, say
        return network
    network = copy.deepcopy(network).requires_grad_(False)
    for module in _cast(network):
        module.to(torch.bfloat16)
    return network


def _cast(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if type(module) in (nn.Conv2d, nn.Linear)]


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
