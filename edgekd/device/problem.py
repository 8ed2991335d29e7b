"""Problem: what went wrong on a device, told to a person. It crosses the wire as JSON; a host makes its own error kinds of it."""

import re
from typing import Any, Dict

EXIT_CODES = {"bug": 1, "input": 2, "environment": 5, "device": 6, "device-memory": 6, "integrity": 7, "locked": 8}
_NO_ROOM = re.compile(r"(?i)out ?of ?memory|memory ?allocation|failed to allocate memory|could not be allocated|bad[ _]alloc")


class Problem(Exception):
    """``code`` is a key of EXIT_CODES; ``what`` happened, ``where``, the value ``seen``, the ``fix`` to try: one line each."""

    def __init__(self, code, what, where=None, seen=None, fix=None):
        super(Problem, self).__init__(what)
        self.code, self.what, self.where, self.seen, self.fix = code, what, where, seen, fix

    def __str__(self):
        return "%s: %s" % (self.where, self.what) if self.where else self.what

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.code]

    def as_json(self) -> Dict[str, Any]:
        return {"code": self.code, "what": self.what, "where": self.where, "seen": self.seen, "fix": self.fix}


def device_code(words) -> str:
    """Of a runtime that refused a model with these words: "device-memory" where it lacked memory, else "device"."""
    return "device-memory" if _NO_ROOM.search(words or "") else "device"


def one_line(error, most=300):
    """An exception's own words on one line, shortened."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= most else words[: most - 1] + "…"
