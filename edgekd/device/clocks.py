"""Locked clocks for a measurement, when asked: jetson_clocks before it, and every clock as it was in every way out.

The power mode is never changed: that may ask for a reboot.
"""

import contextlib
import glob
import os
import shutil
import tempfile

from . import guardian
from .problem import Problem, one_line
from .system import as_root, ask, program, read

_STORE_S = 60.0


@contextlib.contextmanager
def locked(asked, lock=None):
    """Locks the clocks when asked is "lock". Yields {"asked", "locked_by_us", "restored"}; "restored" is known after the block.

    lock: the handle of the measuring lock, which is then held until the clocks are back, whoever is killed: else the next
    measurement might store our locked clocks as the device's own.

    Raises Problem: no jetson_clocks, no right to use it, or clocks that could not be locked or put back.
    """
    told = {"asked": asked or "as-is", "locked_by_us": False, "restored": None}
    if told["asked"] != "lock":
        yield told
        return
    path = program("jetson_clocks")
    if path is None:
        raise Problem("device", "there is no jetson_clocks: the clocks cannot be locked", "clocks: lock", fix="clocks: as-is")
    here, mine = _without_blanks(), "edgekd-clocks-%s-" % read("/proc/sys/kernel/random/boot_id")[:8]
    for left in sorted(glob.glob(os.path.join(glob.escape(here), mine + "*"))):
        _mend(path, left)
    folder = tempfile.mkdtemp(prefix=mine, dir=here)
    restore = as_root([path, "--restore", os.path.join(folder, "before")])
    try:
        _store(path, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    keeper = guardian.start(as_root([path]), restore, folder, () if lock is None else (lock,))
    trouble = None
    try:
        answer = keeper.stdout.readline().decode("utf-8", "replace").strip()
        if answer != guardian.LOCKED:
            raise Problem("device", "the clocks could not be locked", path, one_line(answer), "clocks: as-is")
        told["locked_by_us"] = True
        yield told
    finally:
        trouble = _end(keeper, restore, folder)
        told["restored"] = trouble is None
    if trouble:
        raise _not_back(path, os.path.join(folder, "before"), trouble)


def _mend(path, folder):
    """Put back what an agent stored since the last boot and nobody restored: it was killed, and its guardian as well."""
    stored = os.path.join(folder, "before")
    if os.lstat(folder).st_uid != os.geteuid():
        return
    trouble = os.path.isfile(stored) and guardian.trouble(as_root([path, "--restore", stored]))
    if trouble:
        raise _not_back(path, stored, trouble)
    shutil.rmtree(folder, ignore_errors=True)


def _not_back(path, stored, trouble):
    fix = "on the device: sudo %s --restore %s, or reboot" % (path, stored)
    return Problem("device", "the clocks could not be put back", path, trouble, fix)


def _store(path, folder):
    """The present clocks, whole or not at all, as the file "before". jetson_clocks asks before it overwrites a file, so there is
    none yet; it ends with 0 after some errors, so look."""
    file = os.path.join(folder, "storing")
    status, text = ask(as_root([path, "--store", file]), _STORE_S)
    if status == 0 and os.path.isfile(file) and os.path.getsize(file):
        os.rename(file, os.path.join(folder, "before"))
        return
    fix = "on the device run: sudo jetson_clocks; and in the recipe: clocks: as-is"
    what = "the present clocks could not be stored"
    if os.geteuid() != 0:
        what = "locking the clocks needs root, or sudo without a password"
    raise Problem("device", what, "clocks: lock", one_line(text) if text.strip() else "status %s" % status, fix)


def _end(keeper, restore, folder):
    """Let the guardian restore; where it was killed, do it here. None, or what went wrong."""
    with contextlib.suppress(OSError):
        keeper.stdin.close()
    answer = keeper.stdout.read().decode("utf-8", "replace").split("\n")
    keeper.stdout.close()
    if keeper.wait() < 0:
        answer = [guardian.trouble(restore) or guardian.RESTORED]
        if answer == [guardian.RESTORED]:
            shutil.rmtree(folder, ignore_errors=True)
    return None if guardian.RESTORED in answer else one_line(" ".join(answer))


def _without_blanks():
    """jetson_clocks takes a path apart at blanks."""
    folder = tempfile.gettempdir()
    return folder if folder.split() == [folder] else "/tmp"
