"""Measure until it is calm: a suspect measurement is taken again, a few times; what was suspect before is told as well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.targets.client import Connection
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.suspect import suspicions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ATTEMPTS = 5  # other work on a shared machine comes in bursts of seconds to a minute
PAUSE_S = 4.0


def measure_calmly(
    connection: Connection,
    models: Mapping[str, Path],
    example: NDArray[np.float32],
    plan: MeasuringPlan,
    *,
    attempts: int = ATTEMPTS,
    pause_s: float = PAUSE_S,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The first of up to ``attempts`` measurements whose conditions are not suspect, else the last; never the fastest.

    One that outlasted the plan's budget is not repeated: the machine is too busy, or the model too slow, to ask again.

    Returns ``Connection.measure``'s reply with "set_aside": [[reason, ...] of each earlier attempt], and the reasons why the
    returned one is suspect, () if it is not. What a kit has measured cannot be repeated: its one answer is returned.
    """
    set_aside: list[list[str]] = []
    while True:
        measured = connection.measure(models, example, plan)
        reasons = suspicions(measured, connection.target.profile)
        if connection.kit:
            again = (f"a kit measured it, and cannot by itself measure again: {connection.kit.again}",) if reasons else ()
            return {**measured, "set_aside": set_aside}, (*reasons, *again)
        if not reasons or len(set_aside) == attempts - 1 or measured["seconds"] > plan.budget_s:
            return {**measured, "set_aside": set_aside}, reasons
        set_aside.append(list(reasons))
        time.sleep(pause_s)
