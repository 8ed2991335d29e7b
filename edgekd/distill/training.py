"""Everything a training run is at one moment, so that it can be put away and taken up again with the same bits."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgekd.distill.guard import GuardedStep
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
class Learner:
    """One student, what is trained with it, and its best epoch so far."""

    network: nn.Module
    auxiliary: nn.Module | None
    optimiser: GuardedStep
    best_epoch: int = 0  # counted from 1; 0 before the first epoch is over
    best_top1: float = -1.0
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def keep_if_best(self, epoch: int, top1: float) -> None:
        """Remember these weights if no epoch was better on the held-out images. Of equals the last: the learning rate was lower,
        so its weights moved less with the last batches seen."""
        if top1 >= self.best_top1:
            self.best_epoch, self.best_top1 = epoch, top1
            self.best_state = copies(self.network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": copies(self.network.state_dict()),
            "auxiliary": copies(self.auxiliary.state_dict()) if self.auxiliary is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "best": {"epoch": self.best_epoch, "top1": self.best_top1, "state": copies(self.best_state)},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        put_back(self.network, state["network"])
        if self.auxiliary is not None:
            put_back(self.auxiliary, state["auxiliary"])
        self.optimiser.load_state_dict(state["optimiser"])
        best = state["best"]
        self.best_epoch, self.best_top1, self.best_state = best["epoch"], best["top1"], copies(best["state"])


@dataclass
class Training:
    """The loop's state: what it is made of, and how far it has come."""

    learners: tuple[Learner, ...]  # one, or several side by side
    method: Method
    batches: Batches
    step: int = 0  # steps done
    epochs: list[dict[str, Any]] = field(default_factory=list)  # curves, one entry an epoch
    logged: dict[str, list[float | None]] = field(
        default_factory=dict
    )  # what the method observes: a mean an epoch, None: not seen
    sums: Sums = field(default_factory=lambda: Sums())
    epoch_began: float = field(default_factory=time.monotonic)  # earlier, if part of it was trained by another process
    cpu_began: float = field(default_factory=time.process_time)  # the same in CPU time, of all threads
    require_finite: Callable[[], None] = lambda: None  # raises if a step was refused; waits for the device

    @property
    def student(self) -> nn.Module:
        """The first one."""
        return self.learners[0].network

    @property
    def device(self) -> torch.device:
        return next(self.student.parameters()).device

    def state_dict(self) -> dict[str, Any]:
        """Own copies of everything needed to go on: tensors by name, and plain values JSON can hold.

        Raises InputError: the training has diverged, and this is nothing to go on from.
        """
        self.require_finite()
        return {
            "learners": [learner.state_dict() for learner in self.learners],
            "method": self.method.state_dict(),
            "batches": self.batches.state_dict(),
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "step": self.step,
            "epochs": [dict(epoch) for epoch in self.epochs],
            "logged": {name: list(means) for name, means in self.logged.items()},
            "sums": self.sums.state_dict(),
            "epoch_s": time.monotonic() - self.epoch_began,
            "epoch_cpu_s": time.process_time() - self.cpu_began,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken. Values are copied into the tensors at hand, so that memory formats, and with
        them the order of sums, stay as they are."""
        for learner, kept in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(kept)
        self.method.load_state_dict(state["method"])
        self.batches.load_state_dict(state["batches"])
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"] is not None and self.device.type == "cuda":  # else it goes on on another device, with other bits
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)
        self.step = state["step"]
        self.epochs = [dict(epoch) for epoch in state["epochs"]]
        self.logged = {name: list(means) for name, means in state["logged"].items()}
        self.sums.load_state_dict(state["sums"], self.device)
        self.epoch_began = time.monotonic() - state["epoch_s"]
        self.cpu_began = time.process_time() - state["epoch_cpu_s"]


class Sums:
    """Means in the making: scalars of this epoch so far, added up on the device, and how many of each."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, seen: Mapping[str, Tensor]) -> None:
        for name, value in seen.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.detach().clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def mean(self, name: str) -> float:
        """Waits for the device."""
        return self._sums[name].item() / self._counts[name]

    def means(self) -> dict[str, float]:
        """All of them, and the next epoch begins."""
        means = {name: self.mean(name) for name in self._sums}
        self._sums.clear()
        self._counts.clear()
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": copies(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._sums = {name: total.to(device, copy=True) for name, total in state["sums"].items()}
        self._counts = dict(state["counts"])


def put_back(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load copies of this network's own tensors. A copied state has lost its modules' version numbers, and MNASNet refuses one
    without: they are the network's own."""
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned)


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies, as safetensors wants them."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
