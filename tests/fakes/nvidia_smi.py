"""A stand-in for nvidia-smi, stricter than the original: of its words only those that are used, of its fields those of a driver's
generation. What it prints is typed from published captures (utkuozdemir/nvidia_gpu_exporter, MIT: RTX 2080 SUPER with 465.27 and
610.57, RTX 4080 SUPER with 595.71); see tests/fixtures/NOTICE.md."""

from __future__ import annotations

import json
import stat
import sys
import time
from pathlib import Path

_REASONS_OLD, _REASONS_NEW = "clocks_throttle_reasons.active", "clocks_event_reasons.active"
_COMMON = {"name": "", "compute_cap": "", "driver_version": "", "memory.total": " [MiB]", "temperature.gpu": "",
           "power.draw": " [W]", "clocks.current.sm": " [MHz]", "utilization.gpu": " [%]"}  # fmt: skip
_NEWER = {**_COMMON, "power.draw.instant": " [W]", _REASONS_NEW: "", _REASONS_OLD: ""}
GENERATIONS = {"465.27": {**_COMMON, _REASONS_OLD: ""}, "535.113": _NEWER, "595.71": _NEWER}
IDLE = {"active": "0x0000000000000001", "clocks.current.sm": "210", "temperature.gpu": "43", "utilization.gpu": "0",
        "power.draw": "26.20", "power.draw.instant": "26.20"}  # fmt: skip
BUSY = {**IDLE, "active": "0x0000000000000000", "clocks.current.sm": "2805", "temperature.gpu": "60", "utilization.gpu": "97",
        "power.draw": "84.24", "power.draw.instant": "86.20"}  # fmt: skip
ABOUT = {"name": "NVIDIA GeForce RTX 4080 SUPER", "compute_cap": "8.9", "memory.total": "16376"}


def install(root: Path, driver: str = "595.71", idle: dict | None = None, busy: dict | None = None, idle_s: float = 2.5,
            faster: float = 10.0) -> Path:  # fmt: skip
    """Below ``root``; IDLE for ``idle_s`` seconds, then BUSY, with these values changed. It samples ``faster`` than asked.
    Returns the file of its PIDs and words."""
    program = root / "usr/bin/nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" "$0" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    told = {"driver": driver, "idle": {**IDLE, **(idle or {})}, "busy": {**BUSY, **(busy or {})}, "idle_s": idle_s,
            "faster": faster}  # fmt: skip
    (root / "nvidia-smi.json").write_text(json.dumps(told))
    return root / "nvidia-smi.log"


def main(program: str, words: list[str]) -> int:
    import os

    root = Path(program).parents[2]
    told = json.loads((root / "nvidia-smi.json").read_text())
    with (root / "nvidia-smi.log").open("a") as log:
        log.write(f"{os.getpid()} {' '.join(words)}\n")
    if len(words) not in (4, 6) or words[0] != "-i" or words[1] != "0" or not words[2].startswith("--query-gpu="):
        return said("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", 1)
    fields, known = words[2].partition("=")[2].split(","), GENERATIONS[told["driver"]]
    if unknown := [field for field in fields if field not in known]:
        return said(f'Field "{unknown[0]}" is not a valid field to query.', 2)
    form = words[3].removeprefix("--format=").split(",")
    if form[0] != "csv" or not set(form[1:]) <= {"noheader", "nounits"} or (words[4:] and words[4] != "-lms"):
        return said("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", 1)
    if "noheader" not in form:
        newer = _REASONS_NEW in known
        print(", ".join((_REASONS_NEW if newer and one == _REASONS_OLD else one) + known[one] for one in fields), flush=True)
    begun = time.monotonic()
    while True:
        row = {**ABOUT, "driver_version": told["driver"], **told["idle" if time.monotonic() - begun < told["idle_s"] else "busy"]}
        units = {one: known[one].strip(" []") for one in fields}
        cells = [row["active"] if one.endswith("reasons.active") else row[one] for one in fields]
        with_units = [f"{cell} {units[one]}".strip() for one, cell in zip(fields, cells, strict=True)]
        print(", ".join(cells if "nounits" in form else with_units), flush=True)
        if not words[4:]:
            return 0
        time.sleep(int(words[5]) / 1e3 / told["faster"])


def said(line: str, status: int) -> int:
    print(line)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
