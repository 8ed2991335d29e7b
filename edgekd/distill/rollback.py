"""A teacher that learns, and what is done when it got worse by it: the best one comes back, and learns more slowly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.distill.guard import GuardedStep
from edgekd.distill.modes import answering
from edgekd.distill.training import copies, put_back

# All ours. One point alone is the size of the noise on a few thousand images, hence the standard errors. The third time, the
# steps are already a quarter as long, and it is the advice that is bad.
LEAST_DAMAGE, STANDARD_ERRORS = 0.01, 2.0
CHANCES = 3


class Rollback:
    """Of ``teacher``, which ``optimiser`` trains. evaluate: its held-out top-1; images: on how many, 0 if not known."""

    def __init__(self, teacher: nn.Module, optimiser: GuardedStep, evaluate: Callable[[nn.Module], float], images: int) -> None:
        self.teacher, self.optimiser, self._evaluate, self._images = teacher, optimiser, evaluate, images
        self.best_top1: float | None = None  # None: not looked at yet
        self.best_state: dict[str, Tensor] = {}
        self.restored = 0  # times

    @property
    def over(self) -> bool:
        """It got worse too often: it may learn no more."""
        return self.restored >= CHANCES

    @property
    def rate_factor(self) -> float:
        return 0.5**self.restored

    @torch.no_grad()
    def top1(self) -> float:
        with answering(self.teacher):
            return self._evaluate(self.teacher)

    def broke(self) -> bool:
        """Did its optimiser meet, or does the teacher hold, a number that is not finite? Waits for the device."""
        return bool(self.optimiser.tripped) or not all(bool(one.isfinite().all()) for one in self.teacher.state_dict().values())

    def check(self) -> dict[str, Any]:
        """Look at the teacher: the best so far is kept, of equals the last, and comes back if this one is damaged.

        It is damaged if it ``broke``, or if it is worse on the held-out images by more than a point and more than two standard
        errors. Returns {"teacher_top1", "rollback": whether}, and more if so. Waits for the device.
        """
        top1, broke = self.top1(), self.broke()
        seen = {"teacher_top1": top1, "rollback": False}
        if self.best_top1 is None or (top1 >= self.best_top1 and not broke):
            self.best_top1, self.best_state = top1, copies(self.teacher.state_dict())
        elif broke or top1 < self.best_top1 - self._noise(self.best_top1):
            self.bring_back()
            self.optimiser.forget()
            self.restored += 1
            seen |= {
                "rollback": True,
                "best_top1": self.best_top1,
                "rate_factor": self.rate_factor,
                "over": self.over,
            }
        return seen

    def bring_back(self) -> None:
        """The best teacher so far, in the network."""
        put_back(self.teacher, self.best_state)

    def _noise(self, top1: float) -> float:
        error = math.sqrt(top1 * (1.0 - top1) / self._images) if self._images else 0.0
        return max(LEAST_DAMAGE, STANDARD_ERRORS * error)

    def state_dict(self) -> dict[str, Any]:
        return {"best_top1": self.best_top1, "best_state": dict(self.best_state), "restored": self.restored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best_top1, self.restored = state["best_top1"], state["restored"]
        self.best_state = copies(state["best_state"])
