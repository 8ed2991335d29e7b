"""What trtexec printed: its verdict, its errors, its warnings. Anything may be missing; nothing here raises.

stdout and stderr come in one text, in whatever order: warnings and errors went to stderr, the rest to stdout. A line begins with
``[MM/DD/YYYY-HH:MM:SS] [I] ``, the library's own with ``[TRT]`` after that; long ones go on without a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgekd.core import InputError
from edgekd.targets.tensorrt.versions import parse_version

Level = Literal["V", "I", "W", "E", ""]
_PREFIX = re.compile(r"(?:\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] ?)?(?:\[TRT\] ?)?\[([VIWEF])\] ?(?:\[TRT\] ?)?(.*)", re.DOTALL)
_BANNER = re.compile(r"&&&& (RUNNING|PASSED|FAILED) (?:\S+ )?\[TensorRT v(\d+)\](?: \[b(\d+)\])?(?: # (.*))?")
_WALLTIME = re.compile(r"Total Host Walltime: (\d[\d.]*(?:[eE][-+]?\d+)?) s")
_PEAK = re.compile(r"\[Mem(?:Usage)?Stats\] Peak memory usage.*?: ?CPU:? (\d+) MiB(?:, GPU:? (\d+) MiB)?", re.IGNORECASE)
_CONCERNS = {
    "unstable": r"GPU compute time is unstable",
    "enqueue-bound": r"may be bound by Enqueue Time",
    "transfer-bound": r"may be bound by (?:host-to-device|device-to-host) transfers",
    "no-cuda-graph": r"not permitted under CUDA graph|CUDA graph capture failed|--useCudaGraph flag has been ignored"
                     r"|Ignored --useCudaGraph",
    "other-module": r"Using an engine plan file across different models of devices",
    "typed-by-the-file": r"mode is not allowed if graph is strongly typed",
    "weakly-typed": r"Weakly-typed networks have been deprecated",
    "dynamic-shape": r"Dynamic dimensions required for input: .*no shapes were provided",
    "made-up-scales": r"Calibrator is not being used\. Users must provide|Missing scale and zero-point for tensor"
                      r"|Starting Calibration",
    "no-int8-units": r"hardware without native Int8 support",
    "layers-watched": r"network timing report will not be accurate",
    "other-timing-cache": r"timing cache.*(?:ignored|mismatch|different|not compatible)",
}  # fmt: skip
_OWN_SCALES = re.compile(r"Calibrator won't be used in explicit (?:precision|quantization) mode")


@dataclass(frozen=True)
class Line:
    """One message with its continuation lines. level "": printed by neither trtexec's logger nor TensorRT's."""

    level: Level
    text: str


@dataclass(frozen=True)
class TrtexecLog:
    """version: (10, 13, 3, 9). passed: whether its last word is PASSED; failed: whether it said FAILED; a process that was killed
    says neither. walltime_s: of its timed queries. peak_*: MiB that TensorRT says a build took. concerns: {code: line} of the
    warnings that matter. own_scales: whether TensorRT said that it uses the scales of the file's Q/DQ nodes.
    """

    version: tuple[int, ...] | None
    passed: bool
    failed: bool
    lines: tuple[Line, ...]
    walltime_s: float | None
    peak_cpu_mib: float | None
    peak_gpu_mib: float | None
    concerns: Mapping[str, str] = field(default_factory=dict)
    own_scales: bool = False

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(line.text for line in self.lines if line.level == "E")


def read_log(text: str) -> TrtexecLog:
    """Read what one process of trtexec printed. Never raises: what is not found is None, empty or False."""
    rows = text.replace("\r", "").split("\n")
    banners = [found for row in rows if (found := _BANNER.match(row))]
    lines = tuple(_lines(rows))
    texts = [one.text for one in lines]
    whole, failed = "\n".join(texts), "&&&& FAILED" in text
    peaks = [found.groups() for one in texts if (found := _PEAK.search(one))]
    return TrtexecLog(
        version=_version(banners), lines=lines,
        passed=bool(banners) and banners[-1][1] == "PASSED" and not failed, failed=failed,
        walltime_s=_walltime_s(whole),
        peak_cpu_mib=max((float(cpu) for cpu, _ in peaks), default=None),
        peak_gpu_mib=max((float(gpu) for _, gpu in peaks if gpu), default=None),
        concerns={code: line for code, pattern in _CONCERNS.items() if (line := _first(pattern, texts))},
        own_scales=_OWN_SCALES.search(whole) is not None,
    )  # fmt: skip


def _lines(rows: list[str]) -> Iterator[Line]:
    """Messages, without the banners: file names in a command line are no messages."""
    level: Level = ""
    held: list[str] = []
    for row in rows:
        if "&&&& " in row:
            row = row.partition("&&&& ")[0]  # what stderr printed into the middle of a line
        if found := _PREFIX.fullmatch(row):
            if held:
                yield Line(level, "\n".join(held))
            level, held = _LEVELS[found[1]], [found[2]]
        elif row.strip():
            held.append(row)
    if held:
        yield Line(level, "\n".join(held))


_LEVELS: Mapping[str, Level] = {"V": "V", "I": "I", "W": "W", "E": "E", "F": "E"}


def _walltime_s(whole: str) -> float | None:
    found = _WALLTIME.search(whole)
    try:
        return float(found[1]) if found else None
    except ValueError:  # such as 1.2.3, of a line cut and glued
        return None


def _first(pattern: str, texts: list[str]) -> str | None:
    return next((text for text in texts if re.search(pattern, text)), None)


def _version(banners: list[re.Match[str]]) -> tuple[int, ...] | None:
    if not banners:
        return None
    build = f" [b{banners[0][3]}]" if banners[0][3] else ""
    try:
        return parse_version(banners[0][2] + build)
    except InputError:
        return None
