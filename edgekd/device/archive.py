"""The device room as one file: a zipapp that any Python 3.6 or newer runs. The same sources give the same bytes."""

import io
import os
import zipfile

PACKAGE = "edgekd_device"
_MAIN = "import sys\n\nfrom %s.__main__ import main\n\nsys.exit(main(sys.argv[1:]))\n" % PACKAGE
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def build_zipapp(others=()) -> bytes:
    """The zipapp's bytes. Stored, not deflated: zlib's output differs between versions. others: {name: source}, more modules."""
    content = io.BytesIO()
    content.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(content, "a", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(dict(_sources(), **dict(_added(others), **{"__main__.py": _MAIN.encode()})).items()):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, source)
    return content.getvalue()


def zip_path():
    """The zipapp this code runs from, or None when it runs from a folder."""
    outside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return outside if zipfile.is_zipfile(outside) else None


def _added(others):
    return {"%s/%s" % (PACKAGE, name): source for name, source in dict(others).items()}


def _sources():
    """{path inside the archive: bytes} of this package's modules, from its folder or from the zipapp it runs in."""
    running_from = zip_path()
    if running_from:
        with zipfile.ZipFile(running_from) as archive:
            return {name: archive.read(name) for name in archive.namelist() if name.startswith(PACKAGE + "/")}
    folder, found = os.path.dirname(os.path.abspath(__file__)), {}
    for name in os.listdir(folder):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as file:
                found["%s/%s" % (PACKAGE, name)] = file.read()
    return found
