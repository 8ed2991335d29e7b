"""Files on their way to a device and back: sent once by their hash, from the bytes that are there, and compared every time."""

from __future__ import annotations

import secrets
import tempfile
from functools import partial
from pathlib import Path

from edgekd.core import DeviceError, InputError, IntegrityError
from edgekd.core.files import disk_problems, sha256_of
from edgekd.targets.transport import remote
from edgekd.targets.transport.scripts import HELPER_S, Ran, Scripts

MOST_FILE_BYTES, MOST_RESULT_BYTES = 4 << 30, 1 << 30
LEAST_BYTES_A_SECOND = 50_000  # a slower connection takes longer than a person waits
_SMALL = 64 << 10  # bytes that are sent without asking whether the device has them: asking takes as long


class SentFiles:
    """work, sent: the folders there. python: the interpreter that compares bytes where there is no sha256sum."""

    def __init__(self, scripts: Scripts, work: str, sent: str, python: str) -> None:
        self._scripts, self._work, self._sent, self._python = scripts, work, sent, python
        with disk_problems(Path(tempfile.gettempdir())):
            self._results = tempfile.TemporaryDirectory(prefix="edgekd-")

    def put(self, source: Path, name: str) -> None:
        """Send what the device does not have yet; a connection that drops is opened again once, and it goes on where it was."""
        digest, size = sha256_of(source), source.stat().st_size
        if size > MOST_FILE_BYTES:
            fix = f"at most {MOST_FILE_BYTES >> 30} GiB are sent"
            raise InputError("this file is too large for a device", where=str(source), seen=f"{size:,} bytes", fix=fix)
        # What was there of it may be damaged, or another run may be sending the same: the second time it has a name of its own.
        for part in (f"{digest}.part", f"{digest}.{secrets.token_hex(4)}.part"):
            if self._scripts.again(partial(self._sent_from, source, name, digest, size, part)):
                break
        else:
            fix = (
                "if that repeats, check the device's disk and memory, and that nothing else takes what is sent:"
                " a read in ~/.bashrc there, StdinNull in your ssh config"
            )
            where = self._scripts.where("send")
            raise IntegrityError("a file arrived with other bytes, twice", where=where, seen=source.name, fix=fix)

    def get(self, name: str) -> Path:
        """A copy on this machine, gone when this is closed; whoever asked compares its sha256."""
        return self._scripts.again(lambda: self._fetched(name))

    def close(self) -> None:
        self._results.cleanup()

    def _sent_from(self, source: Path, name: str, digest: str, size: int, part: str) -> bool:
        """Whether all bytes are there as they are here. part: the name of what is not whole."""
        there = 0 if size <= _SMALL else self._bytes_there(digest, part)
        if there is None:
            script = remote.placed(self._sent, digest, self._python, self._work, name, part=None)
            return self._arrived(self._scripts.in_time(script, "send"))
        start, where = there if there <= size else 0, self._scripts.where("send")
        script = remote.received(self._sent, part, anew=start == 0)
        script += remote.placed(self._sent, digest, self._python, self._work, name, part=part)
        with source.open("rb") as file:
            file.seek(start)
            try:
                ran = self._scripts.run(script, where, file, HELPER_S + (size - start) / LEAST_BYTES_A_SECOND)
            except TimeoutError as error:
                fix = "a faster connection; the same command goes on where this stopped"
                what = f"sending {source.name} ({size:,} bytes) was too slow"
                raise DeviceError(what, where=where, seen=str(error), fix=fix) from None
        return self._arrived(ran)

    def _arrived(self, ran: Ran) -> bool:
        if ran.status in (0, remote.OTHER_BYTES):
            return ran.status == 0
        raise ran.refusal(self._scripts.where("send"), "the device does not take the file")

    def _bytes_there(self, digest: str, part: str) -> int | None:
        """How many bytes of a file the device has; None for all of them."""
        said = self._scripts.in_time(remote.bytes_there(self._sent, digest, part), "send").body.split()
        return None if said == [b"all"] else int(said[0]) if said and said[0].isdigit() else 0

    def _fetched(self, name: str) -> Path:
        where = self._scripts.where("fetch")
        said = self._scripts.in_time(remote.size(self._work, name), "fetch")
        if said.status or not said.body.strip().isdigit():
            raise DeviceError("a result is not on the device any more", where=where, seen=f"{name}: {said.said}")
        size = int(said.body)
        if size > MOST_RESULT_BYTES:
            raise DeviceError("a result is too large", where=where, seen=f"{name}: {size:,} bytes")
        path = Path(self._results.name, secrets.token_hex(8))
        try:
            ran = self._scripts.run(remote.content(self._work, name), where, None, HELPER_S + size / LEAST_BYTES_A_SECOND, size)
        except TimeoutError as error:
            raise DeviceError(f"fetching {name} ({size:,} bytes) was too slow", where=where, seen=str(error)) from None
        with disk_problems(path):
            path.write_bytes(ran.body)
        return path
