"""Text from files and names, made safe to show on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line that cannot steer a terminal: control and unassigned characters become visible escapes such as \\x1b."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text)
