"""Whether the clocks are locked: by jetson_clocks --show, or, where that needs root, by the GPU's own files."""

from __future__ import annotations

import re
from collections.abc import Mapping

_GPU = re.compile(r"^GPU\b.*?\bMinFreq=(\d{1,15})\s+MaxFreq=(\d{1,15})\s+CurrentFreq=(\d{1,15})\b", re.MULTILINE)
_MEMORY = re.compile(r"^EMC\b.*\bFreqOverride=(\d)", re.MULTILINE)
_SAME = 0.99  # a locked GPU reports up to 0.1 % less than it was set to


def clocks_locked(show: str | None, devfreq: Mapping[str, Mapping[str, int]] | None) -> bool | None:
    """True: the GPU runs at its fixed clock, and so does the memory where it is shown. None: the device does not tell.

    show: what ``jetson_clocks --show`` said, or its refusal. devfreq: {GPU: {"cur", "min", "max"}} in Hz.
    """
    shown = [(int(low), int(high), int(now)) for low, high, now in _GPU.findall(show or "")]
    clocks = shown or [(one["min"], one["max"], one["cur"]) for one in (devfreq or {}).values()]
    if not clocks:
        return None
    memory = _MEMORY.search(show or "") if shown else None
    return all(low == high and now >= _SAME * high for low, high, now in clocks) and (memory is None or memory[1] == "1")
