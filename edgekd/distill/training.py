"""Everything a training run is at one moment, so that it can be put away and taken up again with the same bits."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgekd.distill.method import Method


class Batches(Protocol):
    """Shuffled, augmented training batches.

    Each ``iter`` yields what is left of the current epoch, ``(view → images [B, 3, H, W], labels int64 [B])``; the next one
    begins a new epoch. ``state_dict`` says where in that stream the next batch lies, also between two batches of an epoch.
    """

    def __len__(self) -> int: ...  # steps of an epoch

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass
class Training:
    """The loop's state: what it is made of, and how far it has come."""

    student: nn.Module
    method: Method
    batches: Batches
    optimiser: torch.optim.Optimizer
    step: int = 0  # steps done
    best_epoch: int = 0  # counted from 1; 0 before the first epoch is over
    best_top1: float = -1.0
    best_state: dict[str, Tensor] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)  # curves, one entry an epoch
    logged: dict[str, list[float]] = field(default_factory=dict)  # what the method observes, one mean an epoch
    sums: dict[str, Tensor] = field(default_factory=dict)  # losses and observations of this epoch so far, on the device
    epoch_began: float = field(default_factory=time.monotonic)  # earlier, if part of it was trained by another process
    require_finite: Callable[[], None] = lambda: None  # raises if a step was refused; waits for the device

    @property
    def device(self) -> torch.device:
        return next(self.student.parameters()).device

    def state_dict(self) -> dict[str, Any]:
        """Own copies of everything needed to go on: tensors by name, and plain values JSON can hold.

        Raises InputError: the training has diverged, and this is nothing to go on from.
        """
        self.require_finite()
        return {
            "student": _copies(self.student.state_dict()),
            "momentum": _copies({name: self.optimiser.state[weight]["momentum_buffer"] for name, weight in self._moving()}),
            "method": self.method.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "step": self.step,
            "best": {"epoch": self.best_epoch, "top1": self.best_top1, "state": _copies(self.best_state)},
            "epochs": [dict(epoch) for epoch in self.epochs],
            "logged": {name: list(means) for name, means in self.logged.items()},
            "sums": _copies(self.sums),
            "epoch_s": time.monotonic() - self.epoch_began,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken. Values are copied into the tensors at hand, so that memory formats, and with
        them the order of sums, stay as they are."""
        put_back(self.student, state["student"])
        weights = dict(self.student.named_parameters())
        for name, momentum in state["momentum"].items():
            self.optimiser.state[weights[name]]["momentum_buffer"] = torch.empty_like(weights[name]).copy_(momentum)
        self.method.load_state_dict(state["method"])
        self.batches.load_state_dict(state["batches"])
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"] is not None and self.device.type == "cuda":  # else it goes on on another device, with other bits
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)
        self.step = state["step"]
        best = state["best"]
        self.best_epoch, self.best_top1, self.best_state = best["epoch"], best["top1"], _copies(best["state"])
        self.epochs = [dict(epoch) for epoch in state["epochs"]]
        self.logged = {name: list(means) for name, means in state["logged"].items()}
        self.sums = {name: total.to(self.device, copy=True) for name, total in state["sums"].items()}
        self.epoch_began = time.monotonic() - state["epoch_s"]

    def keep_if_best(self, epoch: int, top1: float) -> None:
        """Remember these weights if no epoch was better on the held-out images. Of equals the last: the learning rate was lower,
        so its weights moved less with the last batches seen."""
        if top1 >= self.best_top1:
            self.best_epoch, self.best_top1 = epoch, top1
            self.best_state = _copies(self.student.state_dict())

    def _moving(self) -> list[tuple[str, nn.Parameter]]:
        """Parameters with a momentum, by name."""
        return [(name, weight) for name, weight in self.student.named_parameters() if weight in self.optimiser.state]


def put_back(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load copies of this network's own tensors. A copied state has lost its modules' version numbers, and MNASNet refuses one
    without: they are the network's own."""
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies, as safetensors wants them."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
