"""What a run remembers beside its results: how often its test split was opened."""

from __future__ import annotations

import json
from pathlib import Path

from edgekd.core.files import write_json


class State:
    """Kept in one small file of the run folder; a missing or damaged one counts from zero."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.test_opened = int(json.loads(path.read_text())["test_opened"])
        except (OSError, ValueError, KeyError, TypeError):
            self.test_opened = 0

    def count_test_opened(self) -> None:
        """Call before a benchmark reads the test split: choosing by it more than once is no longer a test."""
        self.test_opened += 1
        write_json(self._path, {"test_opened": self.test_opened})
