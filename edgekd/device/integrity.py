"""Hashes, and the comparison of a bundle with its manifest: every missing, extra and changed file, named at once.

bundle/manifest.json is canonical JSON with "files": [{"path", "sha256", "bytes"}, ...]; bundle/manifest.json.sha256 begins
with the manifest's own sha256, as sha256sum writes it. Paths are relative, with "/", and stay inside; links are refused.
"""

import hashlib
import json
import os
import stat

from .problem import Problem, one_line

MANIFEST, MANIFEST_SHA256 = "manifest.json", "manifest.json.sha256"
MOST_MANIFEST_BYTES = 4 << 20
MOST_FILE_BYTES = 4 << 30
MOST_FILES = 10000


def sha256_of(path):
    """sha256 of a file's bytes, 64 hex digits."""
    state = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            state.update(block)
    return state.hexdigest()


def write_aside(path, write):
    """Let ``write(file)`` fill a temporary file, then rename it to ``path``. Returns its sha256."""
    aside = path + ".tmp"
    with open(aside, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    digest = sha256_of(aside)
    os.replace(aside, path)
    return digest


def read_manifest(folder):
    """The manifest as a dict, its bytes compared with the detached sha256 and every path in it checked.

    Raises Problem: "input" (no bundle there), "integrity" (changed, unreadable, a path that leaves the bundle).
    """
    if not os.path.isdir(folder) or not os.path.exists(os.path.join(folder, MANIFEST)):
        raise Problem("input", "no bundle there: %s is missing" % MANIFEST, where=folder, fix="give the bundle's folder")
    content = _small(folder, MANIFEST)
    detached = _small(folder, MANIFEST_SHA256).decode("ascii", "replace").split()
    digest = hashlib.sha256(content).hexdigest()
    if detached[:1] != [digest]:
        raise Problem("integrity", "the manifest has other bytes than its sha256 says", os.path.join(folder, MANIFEST), digest)
    try:
        manifest = json.loads(content.decode("utf-8"))
        files = [(one["path"], one["sha256"], one["bytes"]) for one in manifest["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Problem("integrity", "the manifest cannot be read", os.path.join(folder, MANIFEST), one_line(repr(error)))
    if manifest.get("schema") != 1:
        fix = "use the edgekd.pyz inside the bundle, or a newer edgekd"
        raise Problem("input", "this version reads bundles of schema 1", folder, str(manifest.get("schema")), fix)
    odd = [path for path, sha256, size in files if not (is_inside(path) and isinstance(sha256, str) and type(size) is int)]
    if odd or len(files) > MOST_FILES or len({path for path, _, _ in files}) != len(files):
        seen = str(odd[:3]) if odd else "%d files" % len(files)
        raise Problem("integrity", "the manifest names files it may not", os.path.join(folder, MANIFEST), seen)
    return manifest


def checked(folder, manifest, path):
    """The place of a file of the manifest, after its bytes were compared with it. Raises Problem "integrity"."""
    described = next((one for one in manifest["files"] if one["path"] == path), None)
    difference = file_difference(folder, described) if described else "is not in the manifest"
    if difference:
        fix = "copy the bundle again; verify names every difference"
        raise Problem("integrity", "the bundle is damaged: %s %s" % (path, difference), folder, fix=fix)
    return os.path.join(folder, *path.split("/"))


def is_inside(path):
    """Whether a manifest's path is relative, plain, and stays inside the bundle."""
    return (isinstance(path, str) and 0 < len(path) < 1024 and "\\" not in path and "\0" not in path
            and all(part not in ("", ".", "..") for part in path.split("/")))  # fmt: skip


def differences(folder, manifest):
    """Every difference between a bundle on disk and its manifest, one line each, sorted by path; [] when there is none."""
    expected = {one["path"]: one for one in manifest["files"]}
    found, lines = set(), []
    for base, folders, names in os.walk(folder):
        for name in names + [name for name in folders if os.path.islink(os.path.join(base, name))]:
            path = os.path.relpath(os.path.join(base, name), folder).replace(os.sep, "/")
            found.add(path)
            if path not in expected and path not in (MANIFEST, MANIFEST_SHA256):
                lines.append((path, "extra"))
    for path, one in expected.items():
        difference = file_difference(folder, one) if path in found else "missing"
        if difference:
            lines.append((path, difference))
    return ["%s: %s" % line for line in sorted(lines)]


def file_difference(folder, described):
    """What is wrong with one file of the manifest on disk, or None."""
    path = os.path.join(folder, *described["path"].split("/"))
    inner = os.path.join(folder, "")
    parent = os.path.dirname(path)
    while len(parent) >= len(inner):  # a folder of the bundle that is a link leads out of it
        if os.path.islink(parent):
            return "lies behind a link"
        parent = os.path.dirname(parent)
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return "is a link or no plain file"
        if status.st_size > MOST_FILE_BYTES:
            return "has %d bytes, more than any file of a bundle may" % status.st_size
        if status.st_size != described["bytes"]:
            return "has %d bytes, not %d" % (status.st_size, described["bytes"])
        return None if sha256_of(path) == described["sha256"] else "has other bytes"
    except OSError as error:
        return "cannot be read: %s" % error.strerror


def _small(folder, name):
    path = os.path.join(folder, name)
    try:
        if os.path.islink(path) or os.path.getsize(path) > MOST_MANIFEST_BYTES:
            raise Problem("integrity", "a link or too large", where=path)
        with open(path, "rb") as file:
            return file.read(MOST_MANIFEST_BYTES)
    except OSError as error:
        raise Problem("integrity", "cannot be read: %s" % error.strerror, where=path)
