"""What runs remember beside their results: a run folder, what it is for and which images it saw last; a store, how often the
test split of which images was opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgekd.core import InputError
from edgekd.core.files import write_json
from edgekd.core.lock import locked
from edgekd.data import Description

_SHOWN = 8  # digits of a digest: enough to tell two apart
_OTHERS_COUNT_S = 10.0  # how long another run may hold the count


class State:
    """Kept in one small file of the run folder; a missing or damaged one remembers nothing, and a folder with a
    damaged one holds a real run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = remembered(path)
        self._smoke = bool(kept.get("smoke")) if path.exists() else None
        self._images: Mapping[str, Any] = {}
        with suppress(KeyError, TypeError, ValueError):
            self._images = {"digest": str(kept["images"]["digest"]), "count": int(kept["images"]["count"])}
        self.bundle_of = str(kept.get("bundle_of", ""))  # digest of the recipe and images that the bundle in the folder is of

    def claim(self, *, smoke: bool) -> None:
        """Take the folder for a real or for a smoke run. Raises InputError if it holds one of the other kind: neither may
        overwrite the other's files."""
        if self._smoke is None:
            self._smoke = smoke
            self._write()
        if self._smoke != smoke:
            mine, other = ("smoke", "real") if smoke else ("real", "smoke")
            raise InputError(
                f"this folder holds a {other} run, and a {mine} run does not go into it", where=str(self._path.parent),
                fix="another --run-dir",
            )  # fmt: skip

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

    def bundle_is_of(self, identity: str) -> None:
        """Remember what the bundle in the folder was made from; "" for none."""
        if self.bundle_of != identity:
            self.bundle_of = identity
            self._write()

    def _write(self) -> None:
        write_json(self._path, {"smoke": self._smoke, "images": self._images, "bundle_of": self.bundle_of})


class Openings:
    """How often a benchmark read the test split, by digest of the images: over all runs that share a store, since choosing by
    a test split is choosing, whichever run folder it was done from. A missing or damaged file counts from zero."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, digest: str) -> int:
        count = remembered(self._path).get(digest, 0)
        return count if isinstance(count, int) else 0

    def add(self, digest: str) -> None:
        """Call before the test split is read."""
        with locked(self._path.with_suffix(".lock"), "the count of test openings", wait_s=_OTHERS_COUNT_S):
            write_json(self._path, {**remembered(self._path), digest: self.of(digest) + 1})


def remembered(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if the file is missing or damaged."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
