"""Engines this device has built, each kept in a folder of its own for as long as everything it depends on is the same.

    ${XDG_CACHE_HOME:-~/.cache}/edgekd/engines/<sha256 of the sidecar>/  engine.plan  build.log  layers.json  sidecar.json
                                              /timing-<sha256>.cache     what the builder learned, for the next build

A folder is filled aside and renamed as a whole, its sidecar written last: one that a killed build left is never taken for an
engine, and the next build removes it. All together stay below engine_space.MOST_BYTES.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile

from . import engine_space
from .integrity import sha256_of, write_aside
from .problem import Problem

ENGINE, LOG, LAYERS, PROFILE, TIMING = "engine.plan", "build.log", "layers.json", "profile.json", "timing.cache"
_SIDECAR, _BUSY, _ASIDE = "sidecar.json", "busy", ".building-"
_MAGIC, _LEAST_BYTES = b"ftrt", 33  # of every plan; after 32 bytes of header something must follow
_SPARE_BYTES = 64 << 20  # beside the engine: the log, the timing cache, and room for the system to live in


def is_engine(path):
    """Whether a file begins as every TensorRT plan does, and is more than its header."""
    try:
        with open(path, "rb") as file:
            return file.read(_LEAST_BYTES)[:4] == _MAGIC and os.path.getsize(path) >= _LEAST_BYTES
    except OSError:
        return False


def find(sidecar):
    """(folder, its record) of the engine built under exactly this sidecar, whole to the byte; None where there is none."""
    folder = os.path.join(_home(), _digest(sidecar))
    try:
        with open(os.path.join(folder, _SIDECAR), "rb") as file:
            record = json.loads(file.read().decode("utf-8"))
        engine = os.path.join(folder, ENGINE)
        whole = is_engine(engine) and sha256_of(engine) == record["engine"]["sha256"]
        return (folder, record) if whole and record["sidecar"] == sidecar else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def building(timing_key, model_bytes):
    """A new folder to build in, gone afterwards unless ``keep`` took it; with the timing cache of earlier builds inside.

    Raises Problem "device": no room for an engine of a model of this size, or the folder cannot be written.
    """
    home = _home()
    try:
        os.makedirs(home, 0o700, exist_ok=True)
        _sweep(home)
        _check_room(home, model_bytes)
        folder = tempfile.mkdtemp(prefix=_ASIDE, dir=home)
    except OSError as error:
        raise Problem("device", "engines cannot be kept here: %s" % error.strerror, where=home, fix="make that folder writable")
    busy = os.open(os.path.join(folder, _BUSY), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(busy, fcntl.LOCK_EX)  # until this process ends: no other takes the folder for a dead build's
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(_timing(timing_key), os.path.join(folder, TIMING))
        yield folder
    finally:
        os.close(busy)
        shutil.rmtree(folder, ignore_errors=True)


def reused(sidecar, files):
    """What ``handed_over`` gives of the engine built under exactly this sidecar, which nobody removes meanwhile; None: none."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_locked(fcntl.LOCK_SH))
        except OSError:  # nothing was ever built here, or it cannot be read: building tells
            return None
        found = find(sidecar)
        if found:
            engine_space.used(_home(), found[0])
        return handed_over(found, files) if found else None


def keep(folder, sidecar, timing_key, build_s, files):
    """Make a folder with a finished engine the one that ``find`` finds, and make room for it. Returns what ``handed_over`` gives
    of it, with "removed": {"engines", "bytes"} that were used least recently.

    Where another process was faster its engine stays: the one that was measured must be the one that ships.
    """
    content = json.dumps(told(folder, sidecar, build_s)[1], sort_keys=True).encode()
    write_aside(os.path.join(folder, _SIDECAR), lambda file: file.write(content))
    home, kept = _home(), os.path.join(_home(), _digest(sidecar))
    with _locked(fcntl.LOCK_EX):
        if os.path.isfile(os.path.join(folder, TIMING)):
            os.replace(os.path.join(folder, TIMING), _timing(timing_key))
            engine_space.used(home, _timing(timing_key))
        if not find(sidecar):
            shutil.rmtree(kept, ignore_errors=True)  # something is there, and it is no whole engine
            os.unlink(os.path.join(folder, _BUSY))
            os.rename(folder, kept)
        found = find(sidecar)
        if not found:
            raise Problem("device", "the engine that was built cannot be read back", kept, fix="check the device's disk")
        engine_space.used(home, kept)
        return dict(handed_over(found, files), removed=engine_space.shrink(home, kept))


def told(folder, sidecar, build_s):
    """(folder, record) of a folder with a finished engine, kept or not."""
    engine = os.path.join(folder, ENGINE)
    described = {"sha256": sha256_of(engine), "bytes": os.path.getsize(engine)}
    return folder, {"sidecar": sidecar, "build_s": build_s, "engine": described}


def handed_over(found, files):
    """{"engine", "log", "layers", "profile", "build_s"}: copies of what is kept, in the work folder and described for the host,
    None for what there is not. Copies: nothing that is done to them may reach what is kept."""
    folder, record = found
    names = {"engine": ENGINE, "log": LOG, "layers": LAYERS, "profile": PROFILE}
    stem = record["engine"]["sha256"][:16]
    copies = {key: _copied(os.path.join(folder, name), "%s-%s" % (stem, name), files) for key, name in names.items()}
    return dict(copies, build_s=record["build_s"])


def failed(log, status, build_s, files):
    """The reply of a build that failed, with a copy of the log that says why."""
    name = "failed-%s.log" % os.path.basename(os.path.dirname(log)).lstrip(".")
    return {"engine": None, "reused": False, "build_s": build_s, "status": status, "log": _copied(log, name, files),
            "layers": None, "profile": None}  # fmt: skip


def _copied(source, name, files):
    target = files.path(name)
    if not os.path.isfile(source):
        return None
    with open(source, "rb") as content:
        write_aside(target, lambda file: shutil.copyfileobj(content, file))
    return files.kept(target)


def kept_here():
    """{"engines", "bytes", "most_bytes"} of what this device keeps; None where there is nothing."""
    kept = engine_space.size(_home())
    return dict(kept, most_bytes=engine_space.MOST_BYTES) if kept["bytes"] else None


@contextlib.contextmanager
def _locked(how):
    """With: the folder of engines, shared by those who read or alone for who changes it."""
    home = os.open(_home(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(home, how)
        yield
    finally:
        os.close(home)


def _home():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "edgekd", "engines")


def _timing(key):
    return os.path.join(_home(), "timing-%s.cache" % _digest(key))


def _digest(document):
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_room(home, model_bytes):
    """The engine is built here and copied once for the host; it is no larger than the model, save for what tactics pad."""
    needed, disk = _SPARE_BYTES + 4 * model_bytes, os.statvfs(home)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        seen = "%d MB free, %d MB wanted" % (free // 10**6, needed // 10**6)
        raise Problem("device", "too little disk to build an engine", home, seen, "delete files on the device, or that folder")


def _sweep(home):
    """Remove what killed builds left: the folders that nobody holds."""
    for name in os.listdir(home):
        folder = os.path.join(home, name)
        if not name.startswith(_ASIDE):
            continue
        with contextlib.suppress(OSError):
            busy = os.open(os.path.join(folder, _BUSY), os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(busy)
