"""Power and energy from tegrastats beside a measurement: what a board draws under load, and what one inference costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from edgekd.device.beside import IDLE_S
from edgekd.targets.jetson.tegrastats import parse

LEAST_SAMPLES = 3  # fewer say nothing about a mean; at two a second, a load of 1.5 s has them
_SILENCE_S = 2.0  # four lines of tegrastats
Readings = Sequence[tuple[float, float | None]]  # monotonic seconds, mW
Lines = Sequence[tuple[float, str]]
Spans = Sequence[Sequence[float]]


def power(
    lines: Lines, spans: Mapping[str, Spans], queries: Mapping[str, int], rails: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """As ``drawn``. lines: [[monotonic seconds, tegrastats line], ...]. rails: the board's total, or those that add up to it;
    when one of them is missing from a line, that line says nothing."""
    return drawn([(at, _milliwatts(line, rails)) for at, line in lines], spans, queries, rails)


def drawn(
    readings: Readings, spans: Mapping[str, Spans], queries: Mapping[str, int], rails: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """{model: {"power_w", "idle_w", "energy_mj", "rails", "samples"}}; what is not known is None, never a guess.

    readings: the first IDLE_S seconds of them before any load. spans: of each model, the seconds from start to end of its blocks;
    queries: inferences in all of them together. rails: what the readings are of. energy_mj: above idle, of one inference.
    """
    known = [(at, milliwatts) for at, milliwatts in readings if milliwatts is not None]
    idle_until = readings[0][0] + IDLE_S if readings else 0.0
    idle = _mean([milliwatts for at, milliwatts in known if at <= idle_until])
    return {name: _one(known, blocks, queries.get(name, 0), idle, rails) for name, blocks in spans.items()}


def _one(
    known: Sequence[tuple[float, float]], blocks: Spans, queries: int, idle: float | None, rails: Sequence[str]
) -> dict[str, Any]:
    within = [milliwatts for at, milliwatts in known if any(start <= at <= end for start, end in blocks)]
    loaded, seconds = _mean(within), sum(end - start for start, end in blocks)
    if known and blocks and known[-1][0] < max(end for _, end in blocks) - _SILENCE_S:
        loaded = None  # it ended midway: nobody knows what the rest drew
    energy = None
    if loaded is not None and idle is not None and loaded > idle and queries > 0:
        energy = (loaded - idle) * seconds / queries  # mW times s are mJ
    return {
        "power_w": None if loaded is None else loaded / 1e3,
        "idle_w": None if idle is None else idle / 1e3,
        "energy_mj": energy,
        "rails": list(rails) if known else [],
        "samples": len(within),
    }


def _milliwatts(line: str, rails: Sequence[str]) -> int | None:
    told = parse(line).rails_mw
    return sum(told[rail] for rail in rails) if rails and all(rail in told for rail in rails) else None


def _mean(milliwatts: Sequence[float]) -> float | None:
    return fmean(milliwatts) if len(milliwatts) >= LEAST_SAMPLES else None
