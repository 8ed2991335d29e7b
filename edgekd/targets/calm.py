"""Measure until it is calm: a suspect measurement is taken again, a few times; what was suspect before is told as well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.targets.client import Connection
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.suspect import UNEVEN, suspicions

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
            return {**measured, "set_aside": set_aside}, _not_repeated(reasons, connection.kit.again)
        if not reasons or len(set_aside) == attempts - 1 or measured["seconds"] > plan.budget_s:
            return {**measured, "set_aside": set_aside}, reasons
        set_aside.append(list(reasons))
        time.sleep(pause_s)


def _not_repeated(reasons: tuple[str, ...], fix: str) -> tuple[str, ...]:
    """The reasons, the first one of each kind with what to do: those that say nothing against a tail are read apart."""
    first = {next((at for at, one in enumerate(reasons) if one.startswith(UNEVEN) == kind), None) for kind in (True, False)}
    return tuple(f"{one} (a kit measured this once: {fix})" if at in first else one for at, one in enumerate(reasons))
