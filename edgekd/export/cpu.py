"""What this host's CPU does to 8-bit sums. Standard library only: keys ask it too."""

from __future__ import annotations

import functools
from pathlib import Path

_EXACT_SUMS = ("vnni", "amx_int8")  # x86 features with which u8 times s8 sums do not saturate at 16 bits


@functools.cache
def exact_sums() -> bool:
    """Does this CPU add products of u8 and s8 without saturating? True off x86; read from /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    flags = next((line for line in text.splitlines() if line.startswith("flags")), None)
    return flags is None or any(feature in flags for feature in _EXACT_SUMS)
