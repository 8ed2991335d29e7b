"""--exportTimes: what each timed query took. trtexec writes the file without a word if it cannot, or not at all."""

from __future__ import annotations

from edgekd.core import DeviceError
from edgekd.targets.tensorrt.exported import array_of

_MOST_MS = 1e9  # eleven days: not inf, and no other nonsense
_FIX = "is the device's disk full? Else see trtexec's log; run the same command again"


def read_times(text: str, warm_up_s: float, where: str, *, queries: int | None = None) -> list[float]:
    """Milliseconds of computing by query, in order, without the queries of the first ``warm_up_s`` seconds.

    ``computeMs`` it is: absolute times have six digits and lose the microseconds after 1000 s. Up to 8.4 queries of the warm-up
    are in the file. queries: how many there must be at least. Raises DeviceError: an empty or cut file, fewer queries, or a time
    that is no positive number (trtexec writes a bare nan or inf).
    """
    times = []
    for record in array_of(text, "times", where, _FIX):
        started, computed = (_milliseconds(record, key, where) for key in ("startComputeMs", "computeMs"))
        if computed == 0:
            raise DeviceError("a query that took no time", where=where, seen=_head(str(record)), fix=_FIX)
        if started >= round(warm_up_s * 1000):
            times.append(computed)
    if not times:
        raise DeviceError("trtexec timed no query after the warm-up", where=where, seen=_head(text), fix=_FIX)
    if queries is not None and len(times) < queries:
        seen = f"{len(times)} of {queries}"
        raise DeviceError("trtexec timed fewer queries than asked", where=where, seen=seen, fix=_FIX)
    return times


def _milliseconds(record: object, key: str, where: str) -> float:
    value = record.get(key) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_MS:
        raise DeviceError(f"a query without a {key}", where=where, seen=_head(str(record)), fix=_FIX)
    return float(value)


def _head(text: str) -> str:
    return " ".join(text[:300].split())
