"""The frozen teacher: logits for all views, never a gradient, never a changed statistic."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgekd.distill.method import in_full


class FrozenTeacher:
    """A network that only answers. It is put in eval mode before each answer, whatever others did to it meanwhile."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @torch.no_grad()
    def logits(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """View → images [B, 3, H, W] to view → logits [B, C], float32. One forward for all views: exact in eval mode."""
        self.network.eval()
        together = in_full(self.network(torch.cat(list(views.values()))))
        return dict(zip(views, together.chunk(len(views)), strict=True))
