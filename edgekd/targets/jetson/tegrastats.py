"""One line of tegrastats, of any release from JetPack 4 to 7: every field is looked for by itself, and may be missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MEMORY = re.compile(r"(?<!\S)(RAM|SWAP) (\d{1,9})/(\d{1,9})MB(?!\S)")
_GPU = re.compile(r"(?<!\S)GR3D_FREQ (?:(\d{1,3})%)?(?:@(?:(\d{1,6})|\[(\d{1,6}(?:,\d{1,6})*)\]))?(?!\S)")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z]\w*)@(-?\d{1,4}(?:\.\d+)?)C(?:/-?\d{1,4}(?:\.\d+)?C)?(?!\S)")
# Now and average, in mW; JetPack 7.2 adds the peak. JetPack 4 writes no unit.
_RAIL = re.compile(r"(?<!\S)([A-Za-z]\w*) (?:(\d{1,9})mW/\d{1,9}mW(?:/\d{1,9}mW)?|(\d{1,9})/\d{1,9})(?!\S)")
_GATED_C = -50.0  # a rail that is switched off reads -256
_DUMMY_C = (50.0, 100.0)  # what PMIC says, whatever the temperature
_NO_RAIL = "NC"


@dataclass(frozen=True)
class Sample:
    """What a line tells; None, or not there, where it does not. gpu_mhz: the slowest of the GPU's clusters that runs."""

    ram_used_mb: int | None
    swap_used_mb: int | None
    gpu_percent: int | None
    gpu_mhz: int | None
    temperatures_c: Mapping[str, float]
    rails_mw: Mapping[str, int]


def parse(line: str) -> Sample:
    """Read one line. Never raises; a rail that is named twice counts once, as first told."""
    memory = {name: int(used) for name, used, _ in _MEMORY.findall(line)}
    percent, clocks = _gpu(line)
    zones = ((name, float(celsius)) for name, celsius in _TEMPERATURE.findall(line))
    rails: dict[str, int] = {}
    for name, with_unit, without in _RAIL.findall(line):
        if name != _NO_RAIL:
            rails.setdefault(name, int(with_unit or without))
    return Sample(
        memory.get("RAM"),
        memory.get("SWAP"),
        percent,
        min((clock for clock in clocks if clock), default=None),
        {name: celsius for name, celsius in zones if celsius > _GATED_C and not (name == "PMIC" and celsius in _DUMMY_C)},
        rails,
    )


def _gpu(line: str) -> tuple[int | None, list[int]]:
    found = _GPU.search(line)
    if not found:
        return None, []
    percent, clock, clusters = found.groups()
    listed = (clock or clusters or "").split(",")
    return int(percent) if percent else None, [int(one) for one in listed if one]
