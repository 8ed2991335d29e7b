"""How far a training is, for a person who waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edgekd.distill.training import Training


class Progress:
    """Tells the steps done, the mean loss of this epoch so far and the time left at the pace so far."""

    def __init__(self, state: Training, total: int, tell: Callable[[dict[str, Any]], None] | None) -> None:
        self.state, self.total, self._tell = state, total, tell
        self._started, self._first_step = time.monotonic(), state.step

    def tell(self) -> None:
        if self._tell is None:
            return
        state = self.state
        pace_s = (time.monotonic() - self._started) / (state.step - self._first_step)
        self._tell(
            {
                "done": state.step,
                "total": self.total,
                "loss": state.sums.mean("loss") if state.sums else state.epochs[-1]["loss"],
                "held_out_top1": state.epochs[-1]["held_out_top1"] if state.epochs else None,
                "eta_s": round(pace_s * (self.total - state.step), 1),
            }
        )
