"""What nvidia-smi tells beside a measurement: clock, heat, power, and why the clock was held back; read by its own header.

Names: of --help-query-gpu. Up to driver 53x the reasons are clocks_throttle_reasons, then clocks_event_reasons, and the older
name is still taken, and answered under the newer. power.draw is a mean of the last second from Ampere on; power.draw.instant came
with the newer names. Bits: nvmlClocksEventReason* of nvml.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_COMMON = ("clocks.current.sm", "temperature.gpu", "utilization.gpu", "power.draw")
FIELDS = (
    ("clocks_event_reasons.active", *_COMMON, "power.draw.instant"),
    ("clocks_throttle_reasons.active", *_COMMON),
)  # of newer drivers, else of older ones: one that is told a field it does not know tells nothing
BOARD = "GPU board, by nvidia-smi"  # what its watts are of: not the whole computer
_ACTIVE = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# Not idleness, nor clocks that somebody set: those are as asked for.
_REASONS = {
    0x04: "sw_power_cap (its power limit)",
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown (heat)",
    0x40: "hw_thermal_slowdown (heat)",
    0x80: "hw_power_brake_slowdown (the power supply)",
}
_LOADED_PERCENT = 50.0
_NUMBER = re.compile(r"(\d{1,7}(?:\.\d{1,6})?)(?: (?:W|MHz|%))?")
_MASK = re.compile(r"0x([0-9a-fA-F]{1,16})")


@dataclass(frozen=True)
class Sample:
    """What a line tells; None where it does not ("[N/A]"). reasons: why the clock was below what the load asked for."""

    mhz: float | None
    celsius: float | None
    percent: float | None
    milliwatts: float | None
    reasons: tuple[str, ...]


def samples(lines: Iterable[Sequence[Any]]) -> list[tuple[float, Sample]]:
    """Of [[monotonic seconds, line], ...], the lines that fit the header before them. Never raises."""
    found, header = [], []
    for at, line in lines:
        cells = [cell.strip() for cell in str(line).split(",")]
        names = [cell.partition(" [")[0] for cell in cells]
        if any(name in names for name in _ACTIVE):
            header = names
        elif header and len(cells) == len(header):
            found.append((float(at), _sample(dict(zip(header, cells, strict=True)))))
    return found


def clocks_under_load(told: Sequence[tuple[float, Sample]], spans: Sequence[Sequence[float]]) -> list[float]:
    """MHz of each timed block, the median of its samples under load; a block without any is left out."""
    loaded = [(at, one.mhz) for at, one in told if one.mhz and (one.percent is None or one.percent >= _LOADED_PERCENT)]
    blocks = [[mhz for at, mhz in loaded if start <= at <= end] for start, end in spans]
    return [median(block) for block in blocks if block]


def summary(lines: Iterable[Sequence[Any]], spans: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Any]:
    """For the conditions: {"mhz": [least, greatest] of the blocks, "hottest_c", "reasons"} while it was timed."""
    told, blocks = samples(lines), [span for one in spans.values() for span in one]
    within = [one for at, one in told if any(start <= at <= end for start, end in blocks)]
    clocks = clocks_under_load(told, blocks)
    return {
        "mhz": [min(clocks), max(clocks)] if clocks else None,
        "hottest_c": max((one.celsius for one in within if one.celsius is not None), default=None),
        "reasons": sorted({reason for one in within for reason in one.reasons}),
        "samples": len(within),
    }


def _sample(cells: Mapping[str, str]) -> Sample:
    instant, power = _number(cells.get("power.draw.instant")), _number(cells.get("power.draw"))
    watts = instant if instant is not None else power
    mask = next((int(found[1], 16) for name in _ACTIVE if (found := _MASK.fullmatch(cells.get(name, "")))), 0)
    return Sample(
        _number(cells.get("clocks.current.sm")),
        _number(cells.get("temperature.gpu")),
        _number(cells.get("utilization.gpu")),
        None if watts is None else watts * 1e3,
        tuple(words for bit, words in _REASONS.items() if mask & bit),
    )


def _number(cell: str | None) -> float | None:
    found = _NUMBER.fullmatch(cell or "")
    return float(found[1]) if found else None
