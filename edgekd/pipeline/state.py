"""What a run remembers beside its results: how often its test split was opened, and which images it saw last."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgekd.core.files import write_json
from edgekd.data import Description

_SHOWN = 8  # digits of a digest: enough to tell two apart


class State:
    """Kept in one small file of the run folder; a missing or damaged one remembers nothing and counts from zero."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.test_opened, self._images = 0, dict[str, Any]()
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(path.read_text())
            self.test_opened = int(kept["test_opened"])
            self._images = {"digest": str(kept["images"]["digest"]), "count": int(kept["images"]["count"])}

    def count_test_opened(self) -> None:
        """Call before a benchmark reads the test split: choosing by it more than once is no longer a test."""
        self.test_opened += 1
        self._write()

    def see_images(self, described: Description) -> str | None:
        """Remember these images; a sentence for people if the run before this one had others."""
        before, now = self._images, {"digest": described.digest, "count": sum(described.counts.values())}
        if before == now:
            return None
        self._images = now
        self._write()
        if not before:
            return None
        return (
            f"data: the images changed since the last run here ({before['count']:,} → {now['count']:,} images, digest"
            f" {before['digest'][:_SHOWN]} → {described.digest[:_SHOWN]}): nothing made from the earlier ones is reused"
        )

    def _write(self) -> None:
        write_json(self._path, {"test_opened": self.test_opened, "images": self._images})
