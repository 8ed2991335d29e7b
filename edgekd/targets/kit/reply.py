"""The reply of a kit, read as what it is: a stranger's archive. Every byte is accounted for before any is believed."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgekd.core import InputError, IntegrityError
from edgekd.core.files import disk_problems
from edgekd.device.kit_calls import PARTS
from edgekd.device.kit_reply import HEAD, KIT, SCHEMA, SEAL

MOST_BYTES, MOST_PART_BYTES, MOST_HEAD_BYTES, MOST_PARTS = 8 << 30, 1 << 30, 64 << 20, 100_000
_SEAL_BYTES = len(SEAL % ("0" * 64))
_NAME = re.compile(rf"{re.escape(HEAD)}|{re.escape(KIT)}|{PARTS}/[0-9a-f]{{64}}")
_FIX = "copy it from the device again"


@dataclass(frozen=True)
class KitFacts:
    """A kit that has answered. images: the test images in it; again: what to do for another answer; device_clock: what the device
    took for the time, which proves nothing; agent: sha256 of its zipapp."""

    target: str
    recipe: str
    images: int
    agent: str
    new_kit: str
    device_clock: str

    @property
    def again(self) -> str:
        return "run the kit again"

    def as_facts(self) -> dict[str, str]:
        """For the conditions of what it measured."""
        return {"by": "a kit, on the device alone", "device_clock": self.device_clock}


class Reply:
    """An archive whose seal and content agree. kit: of whom it is; calls: what was asked and answered, in order."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path = path
        _require_sealed(file, path)
        self._archive = _archive(file, path)
        head, content = self._json(HEAD), self._read(KIT, MOST_HEAD_BYTES)
        if hashlib.sha256(content).hexdigest() != head.get("kit"):
            raise self._damaged(KIT, "is not the kit that the answers are of")
        kit = self._parsed(content, KIT)
        try:
            self.calls: Sequence[Mapping[str, Any]] = [dict(one) for one in head["calls"]]
            clock = " to ".join(_stamp(second) for second in head["device_clock"])
            texts = (str(kit["target"]), str(kit["recipe"]), int(kit["images"]), str(kit["agent"]), str(kit["new_kit"]))
            self.kit = KitFacts(*texts, clock)
            if self.kit.images < 1:
                raise ValueError("a kit has images")
            known = head["schema"] == SCHEMA and head["target"] == kit["target"]
        except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise self._damaged(HEAD, f"cannot be read: {error!r}") from error
        if not known:
            raise self._damaged(HEAD, "is of another schema or target than its kit")

    @classmethod
    def opened(cls, path: Path) -> Reply:
        """Raises InputError: no such file, or no plain one. IntegrityError, naming the part: damaged, cut short, no kit's."""
        fix = "name the file that the kit wrote"
        try:
            with disk_problems(path):
                if not stat.S_ISREG(path.stat().st_mode):
                    raise InputError("this reply is no plain file", where=str(path), fix=fix)
                file = path.open("rb")
        except FileNotFoundError as error:
            raise InputError("there is no such reply", where=str(path), fix=fix) from error
        try:
            return cls(file, path)
        except BaseException:
            file.close()
            raise

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._archive.fp is not None:
            self._archive.fp.close()
        self._archive.close()

    def part(self, sha256: str, folder: Path) -> Path:
        """A file of the answers, unpacked into ``folder`` under its sha256. Raises IntegrityError: other bytes, absent."""
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise self._damaged(HEAD, f"names a part that cannot be: {sha256[:80]!r}")
        path = folder / sha256
        if path.exists():
            return path
        content = self._read(f"{PARTS}/{sha256}", MOST_PART_BYTES)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise self._damaged(f"{PARTS}/{sha256}", "has other bytes")
        with disk_problems(path):
            path.write_bytes(content)
        return path

    def _json(self, name: str) -> dict[str, Any]:
        return self._parsed(self._read(name, MOST_HEAD_BYTES), name)

    def _parsed(self, content: bytes, name: str) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._damaged(name, "is not JSON") from error
        if not isinstance(value, dict):
            raise self._damaged(name, "is not an object")
        return value

    def _read(self, name: str, most: int) -> bytes:
        try:
            if self._archive.getinfo(name).file_size > most:
                raise self._damaged(name, "is too large")
            return self._archive.read(name)
        except KeyError as error:
            raise self._damaged(name, "is missing") from error
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise self._damaged(name, str(error)) from error

    def _damaged(self, part: str, what: str) -> IntegrityError:
        return IntegrityError(f"the reply is not what a kit wrote: {part} {what}", where=str(self.path), fix=_FIX)


def _archive(file: IO[bytes], path: Path) -> zipfile.ZipFile:
    """Raises IntegrityError unless it holds plain, stored, expected members only."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise IntegrityError("the reply is no archive", where=str(path), seen=str(error), fix=_FIX) from error
    members = archive.infolist()
    names = [one.filename for one in members]
    odd = [name for name in names if not _NAME.fullmatch(name)]
    packed = [one.filename for one in members if one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 1]
    wrong = (
        (odd, "a file that no kit writes"), (packed, "a file that is not stored as it is"),
        ([name for name in names if names.count(name) > 1] if len(names) < 1000 else [], "a file twice"),
        (names[:1] if len(names) > MOST_PARTS or len(names) != len(set(names)) else [], "too many files"),
    )  # fmt: skip
    for found, what in wrong:
        if found:
            raise IntegrityError(f"the reply holds {what}", where=str(path), seen=repr(found[0][:200]), fix=_FIX)
    return archive


def _require_sealed(file: IO[bytes], path: Path) -> None:
    size = file.seek(0, 2)
    if not _SEAL_BYTES < size <= MOST_BYTES:
        raise IntegrityError("the reply is cut short or too large", where=str(path), seen=f"{size:,} bytes", fix=_FIX)
    file.seek(-_SEAL_BYTES, 2)
    seal = file.read()
    file.seek(0)
    state, left = hashlib.sha256(), size - _SEAL_BYTES
    while left and (block := file.read(min(left, 1 << 20))):
        state.update(block)
        left -= len(block)
    file.seek(0)
    if seal == (SEAL % state.hexdigest()).encode():
        return
    if not seal.startswith((SEAL.partition("%")[0]).encode()):
        raise IntegrityError("the reply is cut short: its seal is missing", where=str(path), fix=_FIX)
    raise IntegrityError(f"the reply has other bytes than its seal says: {_culprit(file)}", where=str(path), fix=_FIX)


def _culprit(file: IO[bytes]) -> str:
    """The name of the part whose bytes are not its own."""
    try:
        archive = zipfile.ZipFile(file)
        for one in archive.infolist():
            if not _NAME.fullmatch(one.filename) or one.file_size > MOST_PART_BYTES or one.compress_type != zipfile.ZIP_STORED:
                return "the list of its files"
            try:
                archive.read(one)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
                return one.filename
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "the list of its files"
    return "the seal, or the frame around its files"


def _stamp(second: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(second)))


def new_folder() -> tempfile.TemporaryDirectory[str]:
    with disk_problems(Path(tempfile.gettempdir())):
        return tempfile.TemporaryDirectory(prefix="edgekd-")
