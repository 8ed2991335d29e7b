"""Text from files and names, made safe to show on a terminal and to put into a document."""

from __future__ import annotations

import json
import re
from typing import Any


def printable(text: str) -> str:
    """One line that cannot steer a terminal: control and unassigned characters become visible escapes such as \\x1b."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text)


def json_text(value: Any) -> str:
    """Readable JSON (two spaces, order kept); NaN is refused. What is no UTF-8 in a file's name becomes a visible \\udcff."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub("[\ud800-\udfff]", lambda lone: f"\\\\u{ord(lone[0]):x}", text)
