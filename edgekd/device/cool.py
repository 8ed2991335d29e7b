"""Let a board cool before it is timed: what ran just before must not slow what runs now."""

import time

from . import probe

_LOOK_S = 2.0
_LOOKS = 4  # that far apart; cooling has ended when the last is no cooler than the first of them by STEADY_C
STEADY_C = 1.0


def down(asked):
    """Wait until the board's hottest sensor has stopped falling, at most asked["most_s"] seconds; asked None: do not wait.

    Returns {"waited_s", "from_c", "to_c"}; None where not asked, or where the device tells no temperature.
    """
    first = _temperature() if asked else None
    if first is None:
        return None
    begun, seen = time.monotonic(), [first]
    while time.monotonic() - begun + _LOOK_S <= asked["most_s"]:
        if len(seen) >= _LOOKS and seen[-_LOOKS] - seen[-1] < STEADY_C:
            break
        time.sleep(_LOOK_S)
        seen.append(_temperature() or seen[-1])
    return {"waited_s": round(time.monotonic() - begun, 1), "from_c": first, "to_c": seen[-1]}


def _temperature():
    return probe.conditions()["temperature_c"]
