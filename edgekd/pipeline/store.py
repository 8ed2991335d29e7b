"""The store: one folder a key, written aside and renamed, so that nothing is done twice and nothing half done is ever found."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.core import Outcome, digest
from edgekd.core.files import disk_problems, fsync_folder, fsync_tree, link_or_copy, write_json
from edgekd.core.lock import locked
from edgekd.core.printable import json_text

OUTCOME_FILE = "outcome.json"
CHECKPOINTS_KEPT_S = 30 * 24 * 3600.0  # of trainings that nobody went on with, such as those of a recipe since changed


@dataclass(frozen=True)
class Stored:
    """A finished step found in the store. made_at: seconds since 1970; seconds: how long it took to make."""

    key: str
    folder: Path
    outcome: Outcome
    seconds: float
    made_at: float

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.made_at)


class Store:
    """Finished steps below ``folder``, by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.set_aside: list[Path] = []  # damaged results found since it was opened, where they lie now

    def find(self, key: str) -> Stored | None:
        """The finished step of this key, every byte checked; a damaged one is set aside under a speaking name and not found."""
        stored = self.peek(key)
        if stored is None and (self.folder / key).exists():
            self._set_aside(self.folder / key)
        return stored

    def peek(self, key: str) -> Stored | None:
        """As ``find``, but nothing is touched."""
        folder = self.folder / key
        try:
            document = json.loads((folder / OUTCOME_FILE).read_text())
            if document["digest"] != digest({name: value for name, value in document.items() if name != "digest"}):
                return None
            outcome = Outcome.from_json(document["outcome"])
            stored = Stored(key, folder, outcome, float(document["seconds"]), float(document["made_at"]))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, KeyError, TypeError):
            return None
        damaged = any(artifact.problem_below(folder) for artifact in outcome.artifacts)
        return None if damaged else stored

    @contextmanager
    def lock(self, key: str, *, wait_s: float = 0.0) -> Iterator[None]:
        """Hold this key while its step is made. Raises LockedError if another run still makes it after ``wait_s``."""
        with locked(self.folder / f"{key}.lock", f"the step {key[:12]}", wait_s=wait_s):
            yield

    def checkpoint(self, key: str) -> Path:
        """The folder in which a step of this key may keep how far it is: a kill leaves it there, ``commit`` removes it."""
        return self.folder / f"{key}.checkpoint"

    @contextmanager
    def new_folder(self, key: str) -> Iterator[Path]:
        """A private folder to make the step in; gone afterwards, unless ``commit`` renamed it."""
        with disk_problems(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for left_behind in self.folder.glob(f".{key}.*.part"):  # by a killed run; the caller holds the key's lock
                shutil.rmtree(left_behind, ignore_errors=True)
            self._drop_old_checkpoints()
            aside = self.folder / f".{key}.{secrets.token_hex(4)}.part"
            aside.mkdir()
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def commit(self, key: str, aside: Path, outcome: Outcome, seconds: float, parts: Mapping[str, Any]) -> Stored:
        """Make ``aside`` the finished step: outcome file last, fsync, rename. An earlier result of this key makes way."""
        made_at = time.time()
        made = {"key": key, "made_at": made_at, "seconds": seconds, "outcome": outcome.as_json(), "made_from": dict(parts)}
        document = json.loads(json_text(made))  # as it will be read
        folder = self.folder / key
        with disk_problems(folder):
            fsync_tree(aside)
            write_json(aside / OUTCOME_FILE, {**document, "digest": digest(document)})
            earlier = self.folder / f".{key}.{secrets.token_hex(4)}.part"
            if folder.exists():
                folder.rename(earlier)
            aside.replace(folder)
            fsync_folder(self.folder)
            shutil.rmtree(earlier, ignore_errors=True)
            shutil.rmtree(self.checkpoint(key), ignore_errors=True)
        return Stored(key, folder, outcome, seconds, made_at)

    def place(self, stored: Stored, target: Path) -> None:
        """Hard-link (or copy) the step's files into a run; files of an earlier result that are no longer part of it go away."""
        wanted = {artifact.path: artifact for artifact in stored.outcome.artifacts}
        for path, artifact in wanted.items():
            place, source = target / path, stored.folder / path
            if not (place.exists() and place.samefile(source)) and artifact.problem_below(target) is not None:
                link_or_copy(source, place)
        for base, folders, names in os.walk(target, topdown=False):
            for name in names:
                path_now = Path(base) / name
                if path_now.relative_to(target).as_posix() not in wanted:
                    path_now.unlink()
            for name in folders:
                below = Path(base) / name
                if not any(below.iterdir()):
                    below.rmdir()

    def _drop_old_checkpoints(self) -> None:
        for folder in self.folder.glob("*.checkpoint"):
            with contextlib.suppress(FileNotFoundError):  # another run has just finished that step
                if time.time() - folder.stat().st_mtime > CHECKPOINTS_KEPT_S:  # every checkpoint written renews it
                    shutil.rmtree(folder, ignore_errors=True)

    def _set_aside(self, folder: Path) -> None:
        aside = folder.with_name(f"{folder.name}.damaged-{secrets.token_hex(4)}")
        with disk_problems(folder):
            folder.rename(aside)
        self.set_aside.append(aside)
