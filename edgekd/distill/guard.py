"""The optimiser's step behind clipping and a check that its numbers are finite, without a word from the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class GuardedStep:
    """SGD with momentum over some parameters; from the first loss or gradient that is not finite on, it takes no step any more.

    gradient_norm: gradients whose norm over all parameters is above are scaled down to it; None: never. Weights decay whatever
    they are, BatchNorm's and biases included: so did the settings that published results of SLD and mdistiller come from, and
    their tables are to be repeated here.

    The decision stays on the device: fused SGD divides gradients by ``grad_scale`` and does nothing when ``found_inf`` is 1. On a
    CPU it copies what is not contiguous, twice the time of a step; so it is given weights and gradients as they lie in memory.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, momentum: float, weight_decay: float, gradient_norm: float | None
    ) -> None:
        self.parameters = [weight for weight in parameters if weight.requires_grad]
        self.gradient_norm = gradient_norm
        self._lying = [nn.Parameter(_as_it_lies(weight.detach())) for weight in self.parameters]
        self._sgd: Any = torch.optim.SGD(self._lying, lr=0.0, momentum=momentum, weight_decay=weight_decay, fused=True)
        device = self.parameters[0].device
        self.tripped = torch.zeros((), device=device)  # 1 from the first refused step on
        self._first_bad = torch.full((3,), math.nan, device=device, dtype=torch.float64)  # step, loss, gradient norm

    def set_rate(self, learning_rate: float) -> None:
        self._sgd.param_groups[0]["lr"] = learning_rate

    def zero_grad(self) -> None:
        for weight in self.parameters:
            weight.grad = None

    def step(self, loss: Tensor, at: int) -> None:
        """Step by the gradients at hand. loss: what they are of, without graph; at: number of the step, for ``broke_at``."""
        gradients = [weight.grad for weight in self.parameters if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        bad = ~(loss.isfinite() & norm.isfinite())
        now = torch.stack([torch.full_like(norm, at, dtype=torch.float64), loss.double(), norm.double()])
        self._first_bad = torch.where(bad & (self.tripped == 0), now, self._first_bad)
        self.tripped = torch.maximum(self.tripped, bad.float())
        scale = torch.ones_like(norm) if self.gradient_norm is None else (norm / self.gradient_norm).clamp(min=1.0)
        for lying, weight in zip(self._lying, self.parameters, strict=True):
            lying.grad = None if weight.grad is None else _as_it_lies(weight.grad)
        self._sgd.grad_scale = scale
        self._sgd.found_inf = self.tripped
        self._sgd.step()

    def broke_at(self) -> tuple[int, float, float] | None:
        """(step, loss, gradient norm) of the first refused step, or None; this waits for the device."""
        if not self.tripped.item():
            return None
        step, loss, norm = self._first_bad.tolist()
        return int(step), loss, norm

    def forget(self) -> None:
        """No momentum, and nothing refused: as new."""
        self._sgd.state.clear()
        self.tripped.zero_()
        self._first_bad.fill_(math.nan)

    def state_dict(self) -> dict[str, Any]:
        """Copies of the momenta by the number of their parameter; those that have one."""
        held = {str(number): self._sgd.state[lying].get("momentum_buffer") for number, lying in enumerate(self._lying)}
        return {
            "momentum": {
                number: momentum.detach().clone(memory_format=torch.contiguous_format)
                for number, momentum in held.items()
                if momentum is not None
            }
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back copies of what ``state_dict`` gave, for weights in the same memory order."""
        self.forget()
        for number, momentum in state["momentum"].items():
            lying = self._lying[int(number)]
            self._sgd.state[lying]["momentum_buffer"] = torch.empty_like(lying).copy_(momentum)


def _as_it_lies(tensor: Tensor) -> Tensor:
    """The same memory, as a contiguous tensor: channels last are the last axis."""
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 and not tensor.is_contiguous() else tensor
