"""The suspect rules of devices whose GPU, heat and supply tell how they are: a Jetson's kernel, and its tegrastats; of other
GPUs the driver, by nvidia-smi."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekd.targets import nvidia_smi
from edgekd.targets.jetson.tegrastats import Sample, parse

_BUSY_PERCENT = 50  # of a GPU that is under load
_ZONE = re.compile(r"(?:-thermal|-therm|_tegra|[-_]fan[-_]est)$")

Samples = Sequence[Mapping[str, Any]]
Rules = Mapping[str, float]


def suspicions(measured: Mapping[str, Any], samples: Samples, rules: Rules) -> tuple[str, ...]:
    """See ``edgekd.targets.suspect.suspicions``. samples: of the conditions, in order."""
    lines = [(at, parse(line)) for at, line in measured.get("tegrastats") or ()]
    spans = [span for blocks in (measured.get("spans") or {}).values() for span in blocks]
    within = [line for at, line in lines if any(start <= at <= end for start, end in spans)]
    return (
        *_clock(within, samples, rules),
        *_limit(samples, rules),
        *_heat(within, samples, rules),
        *_overcurrent(samples, rules),
        *_cooling(samples, rules),
        *_driver(measured, spans, rules),
    )


def _clock(within: Sequence[Sample], samples: Samples, rules: Rules) -> Iterator[str]:
    """Against the clock it was locked to. One that is free to move has none to fall from."""
    during = samples[1:-1] or samples
    locked = [one["gpu_max_mhz"] for one in during if one.get("gpu_max_mhz") and one["gpu_max_mhz"] == one.get("gpu_min_mhz")]
    if "gpu_clock" not in rules or not locked:
        return
    loaded = [one.gpu_mhz for one in within if one.gpu_mhz and (one.gpu_percent is None or one.gpu_percent >= _BUSY_PERCENT)]
    lowest = min([*loaded, *(one["gpu_mhz"] for one in during if one.get("gpu_mhz"))], default=None)
    if lowest is not None and lowest < rules["gpu_clock"] * max(locked):
        yield f"the GPU fell to {lowest:.0f} MHz, though locked to {max(locked):.0f} MHz"


def _limit(samples: Samples, rules: Rules) -> Iterator[str]:
    """The highest clock there is to be had is the power mode's: queries before and after a change do not compare."""
    limits = [one["gpu_max_mhz"] for one in samples if one.get("gpu_max_mhz")]
    if "gpu_clock" in rules and limits and min(limits) < max(limits):
        told = f"{min(limits):.0f} and {max(limits):.0f} MHz"
        yield f"the GPU's highest clock changed between {told}: was the power mode changed?"


def _heat(within: Sequence[Sample], samples: Samples, rules: Rules) -> Iterator[str]:
    """The hottest each zone was, against the point at which the kernel begins to slow the device down."""
    if "trip_margin_c" not in rules:
        return
    hottest: dict[str, float] = {}
    for told in [*(one.temperatures_c for one in within), *(one.get("temperatures_c") or {} for one in samples)]:
        for zone, celsius in told.items():
            hottest[_name(zone)] = max(celsius, hottest.get(_name(zone), celsius))
    for zone, trip in (samples[-1].get("trips_c") or {}).items():
        celsius = hottest.get(_name(zone))
        if celsius is not None and celsius > trip - rules["trip_margin_c"]:
            yield f"{zone} reached {celsius:.0f} °C: at {trip:.0f} °C the device slows down"


def _overcurrent(samples: Samples, rules: Rules) -> Iterator[str]:
    first, last = samples[0].get("oc_counts") or {}, samples[-1].get("oc_counts") or {}
    moved = {name: count - first[name] for name, count in last.items() if name in first}
    if "oc_events" in rules and any(count > rules["oc_events"] for count in moved.values()):
        worst = max(moved, key=lambda name: moved[name])
        yield f"the supply was overdrawn: {worst.rpartition('/')[2]} counted {moved[worst]:.0f} events more"


def _cooling(samples: Samples, rules: Rules) -> Iterator[str]:
    """A cooling device that is at work slows something down, unless it is a fan."""
    if "cooling" not in rules:
        return
    states = [(state, name) for one in samples for name, state in (one.get("cooling") or {}).items() if "fan" not in name.lower()]
    state, name = max(states, default=(0, ""))
    if state > rules["cooling"]:
        yield f"the device was throttled: {name} was at state {state:.0f}"


def _driver(measured: Mapping[str, Any], spans: Sequence[Sequence[float]], rules: Rules) -> Iterator[str]:
    """Why the driver says that it held the clock back, and the clock itself, block by block, under load."""
    told = nvidia_smi.samples(measured.get("nvidia_smi") or ())
    within = [one for at, one in told if any(start <= at <= end for start, end in spans)]
    reasons = Counter(reason for one in within for reason in one.reasons)
    if "gpu_throttled" in rules and reasons:
        reason, count = reasons.most_common(1)[0]
        if count > rules["gpu_throttled"] * len(within):
            yield f"the GPU was throttled in {100 * count / len(within):.0f} % of the time: {reason}"
    clocks = nvidia_smi.clocks_under_load(told, spans)
    if "gpu_clock_moved" in rules and clocks and 1 - min(clocks) / max(clocks) > rules["gpu_clock_moved"]:
        yield f"the GPU's clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz from block to block"


def _name(zone: str) -> str:
    """The kernel's tj-thermal is tegrastats' tj, its CPU-therm the other's CPU."""
    return _ZONE.sub("", zone).lower()
