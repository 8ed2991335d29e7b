"""Seconds in words a person reads: 0.4 s, 38 s, 2 m 11 s, 3 h 05 m, 4 d."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """seconds: finite and not negative."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d"
