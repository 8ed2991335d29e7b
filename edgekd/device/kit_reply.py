"""The reply of a kit: one zip archive of all it was told, whose last line is the sha256 of every byte before it."""

import hashlib
import json
import os
import zipfile

from .kit_calls import PARTS, files_of

HEAD, KIT, SCHEMA = "reply.json", "kit.json", 1
SEAL = "edgekd-reply sha256=%s\n"


def write(path, kit, document, work):
    """The archive, whole or not at all. kit: the bytes of its kit.json; document: "kit", "target", "calls" and more."""
    parts = sorted({described["sha256"] for call in document["calls"] for described in files_of(call["body"])})
    there = [one for one in parts if os.path.isfile(os.path.join(work, PARTS, one))]
    aside, blank = path + ".tmp", (SEAL % ("0" * 64)).encode()
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:  # stored: nothing can unfold on the host
        archive.writestr(HEAD, json.dumps(dict(document, schema=SCHEMA)))
        archive.writestr(KIT, kit)
        for one in there:
            archive.write(os.path.join(work, PARTS, one), PARTS + "/" + one)
        archive.comment = blank
    state = hashlib.sha256()
    with open(aside, "r+b") as file:
        left = os.path.getsize(aside) - len(blank)
        while left:
            block = file.read(min(left, 1 << 20))
            state.update(block)
            left -= len(block)
        file.write((SEAL % state.hexdigest()).encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
