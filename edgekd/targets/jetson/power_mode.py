"""The power mode, by its name: numbers differ between modules and releases."""

from __future__ import annotations

import re

# ``nvpmodel -q`` of every release; JetPack 4 says more around it, verbose builds on the same line; jetson_clocks says it too.
_MODE = re.compile(r"\bNV Power Mode:[ \t]*(\S(?:[^\r\n]*\S)?)")


def power_mode(*texts: str | None) -> str | None:
    """The name in the first of these texts that has one; None when the device does not tell, as without permission."""
    found = (_MODE.search(text) for text in texts if text)
    return next((match[1] for match in found if match), None)
