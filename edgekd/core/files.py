"""Files that are whole or absent: written aside, fsynced, renamed. A full disk is an error of this machine, with its place."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.core.errors import EnvironmentProblem, InputError
from edgekd.core.printable import json_text

_WHY = {
    errno.ENOSPC: ("no space left on the disk", "free some space, or choose another --run-dir"),
    errno.EFBIG: ("the file is larger than this process may write", "raise the limit (ulimit -f), or choose another --run-dir"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another --run-dir"),
    errno.EROFS: ("the file system is read-only", "choose another --run-dir"),
    errno.EACCES: ("permission denied", "choose a folder you may write to"),
    errno.EPERM: ("not permitted", "choose a folder you may write to"),
}
_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)  # why nothing can be where a path says


@contextmanager
def disk_problems(where: Path) -> Iterator[None]:
    """Turn OSErrors that a person can mend into EnvironmentProblem (full, read-only, forbidden) or InputError (a name too long, a
    file where a folder goes, a folder where a file goes); others pass through."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_PLACE:
            what, fix = "this cannot be used as it is", "name another place, or move away what lies there"
            raise InputError(what, where=str(error.filename or where), seen=error.strerror, fix=fix) from error
        if error.errno not in _WHY:
            raise
        what, fix = _WHY[error.errno]
        raise EnvironmentProblem(what, where=str(error.filename or where), fix=fix) from error


def make_folder(path: Path) -> None:
    """Make ``path`` and the folders above it, where they are missing. Raises InputError: a file lies there, or a bad name."""
    with disk_problems(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in (*_NO_PLACE, errno.ENOENT):
                raise
            fix = "name another folder"
            raise InputError("no folder can be made there", where=str(path), seen=error.strerror, fix=fix) from error


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, also after a power cut.

    Raises InputError: a folder lies there. EnvironmentProblem: the disk refuses.
    """
    content = content.encode() if isinstance(content, str) else content
    make_folder(path.parent)
    with disk_problems(path):
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except IsADirectoryError as error:
            fix = "move it away, or name another place"
            raise InputError(f"a folder lies where {path.name} goes", where=str(path), fix=fix) from error
        finally:
            aside.unlink(missing_ok=True)
        fsync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Readable JSON, as ``json_text`` writes it, atomically."""
    write_atomic(path, json_text(value) + "\n")


def fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """fsync every file and folder below ``folder`` before it is renamed into place."""
    for base, _, names in os.walk(folder):
        for name in names:
            with (Path(base) / name).open("rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(base))


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:  # Python 3.10
    state = hashlib.sha256()
    while block := file.read(1 << 20):
        state.update(block)
    return state.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Put ``source`` at ``target`` by hard link, or by copy where links do not reach; an existing target is replaced."""
    with disk_problems(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            try:
                os.link(source, aside)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                    raise
                shutil.copyfile(source, aside)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
