"""What was recorded beside the timed blocks, brought together with them: power while the GPU really computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekd.targets import nvidia_smi
from edgekd.targets.jetson.power import drawn, power

_TAIL_S = 0.3  # a process takes about this to write its files and end


def power_of(measured: Mapping[str, Any], rails: Sequence[str], warm_up_s: float | None) -> dict[str, dict[str, Any]]:
    """{model: {"power_w", "idle_w", "energy_mj", "rails", "samples"}} of a measurement; {} without nvidia-smi, and
    without tegrastats or rails.

    warm_up_s: of blocks that are processes, which spend much of their span loading: then only its end counts, the second half of
    the warm-up and the queries, and as many queries as that time is worth. None: the spans are of timed queries alone.
    """
    lines, smi, rounds, spans = measured.get("tegrastats"), measured.get("nvidia_smi"), measured["rounds"], measured["spans"]
    if not smi and not (lines and rails):
        return {}
    queries = {name: sum(map(len, blocks)) for name, blocks in rounds.items()}
    if warm_up_s is not None:
        computing = {name: [sum(times) / 1e3 for times in blocks] for name, blocks in rounds.items()}
        busy = measured.get("busy_s", computing)
        spans = {name: list(map(_end_of(warm_up_s), spans[name], busy[name])) for name in spans}
        covered = {name: sum(end - start for start, end in one) for name, one in spans.items()}
        queries = {name: round(count * covered[name] / sum(busy[name])) for name, count in queries.items()}
    if smi:
        return drawn([(at, one.milliwatts) for at, one in nvidia_smi.samples(smi)], spans, queries, [nvidia_smi.BOARD])
    return power(lines or (), spans, queries, rails)


def _end_of(warm_up_s: float) -> Callable[[Sequence[float], float], tuple[float, float]]:
    def end_of(span: Sequence[float], busy_s: float) -> tuple[float, float]:
        end = span[1] - _TAIL_S
        return max(span[0], end - busy_s - warm_up_s / 2), max(span[0], end)

    return end_of
