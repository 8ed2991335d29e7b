"""The reply of a kit: one zip archive of all it was told, whose last line is the sha256 of every byte before it."""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile

from .kit_calls import PARTS, files_of

HEAD, KIT, SCHEMA = "reply.json", "kit.json", 1
SEAL = "edgekd-reply sha256=%s\n"


def write(path, kit, document, work):
    """The archive, whole or not at all. kit: the bytes of its kit.json; document: "kit", "target", "calls" and more.

    Raises OSError: the disk refuses; what was written until then is gone.
    """
    parts = sorted({described["sha256"] for call in document["calls"] for described in files_of(call["body"])})
    there = [one for one in parts if os.path.isfile(os.path.join(work, PARTS, one))]
    aside = path + ".tmp"
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:  # stored: nothing can unfold on the host
            archive.writestr(_entry(HEAD), json.dumps(dict(document, schema=SCHEMA)))
            archive.writestr(_entry(KIT), kit)
            for one in there:
                with open(os.path.join(work, PARTS, one), "rb") as part:
                    with archive.open(_entry(PARTS + "/" + one), "w", force_zip64=True) as member:
                        shutil.copyfileobj(part, member, 1 << 20)
            archive.comment = (SEAL % ("0" * 64)).encode()
        _seal(aside)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _entry(name):
    """Dated by nobody's clock: a device without a network may believe that it is 1970, which no archive can say."""
    return zipfile.ZipInfo(name)


def _seal(path):
    state = hashlib.sha256()
    with open(path, "r+b") as file:
        left = os.path.getsize(path) - len(SEAL % ("0" * 64))
        while left:
            block = file.read(min(left, 1 << 20))
            state.update(block)
            left -= len(block)
        file.write((SEAL % state.hexdigest()).encode())
        file.flush()
        os.fsync(file.fileno())
