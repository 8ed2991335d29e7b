"""How much of a device's disk its engines may take: what was used least recently goes first.

The order of use is kept in the files' times, each later than all before: a board without a battery forgets the date.
"""

import contextlib
import os
import shutil
import time

MOST_BYTES = 2 << 30  # ours: some hundred engines of small networks, an eighth of the smallest Jetson's 16 GB card


def size(home):
    """{"engines", "bytes"} of what is kept below ``home``, with its timing caches."""
    kept = _kept(home)
    return {"engines": sum(os.path.isdir(path) for _, _, path in kept), "bytes": sum(taken for _, taken, _ in kept)}


def used(home, path):
    """Note that an engine or a timing cache was used just now, after every other."""
    latest = max([at for at, _, other in _kept(home) if other != path] or [0])
    now = max(int(time.time() * 1e9), latest + 10**9)  # some file systems count whole seconds
    with contextlib.suppress(OSError):  # a disk that can only be read: nothing is removed from it either
        os.utime(path, ns=(now, now))


def shrink(home, sparing):
    """Remove the least recently used until all fit, but never the path ``sparing``. Returns {"engines", "bytes"} removed.

    Hold the folder's lock alone: whoever reads an engine there shares it.
    """
    kept, removed = _kept(home), {"engines": 0, "bytes": 0}
    total = sum(taken for _, taken, _ in kept)
    for _, taken, path in kept:
        if total <= MOST_BYTES:
            break
        if path == sparing:
            continue
        total -= taken
        removed["bytes"] += taken
        if os.path.isdir(path):
            removed["engines"] += 1
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    return removed


def _kept(home):
    """[(when it was last used in ns, bytes, path)], least recently used first; nothing of builds that still run."""
    try:
        names = [name for name in os.listdir(home) if not name.startswith(".") and not name.endswith(".tmp")]
    except OSError:
        return []
    found = []
    for path in (os.path.join(home, name) for name in names):
        try:
            inside = [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [path]
            found.append((os.stat(path).st_mtime_ns, sum(os.stat(one).st_size for one in inside), path))
        except OSError:  # it went meanwhile
            continue
    return sorted(found)
