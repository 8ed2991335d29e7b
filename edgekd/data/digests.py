"""What the images are, as one hash, without decoding any; file hashes are remembered by path, size, time and inode."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG

from edgekd.core import EnvironmentProblem, InputError, digest
from edgekd.core.files import sha256_of, write_atomic
from edgekd.data.source import Item, Listing, Part

_MEND = "replace or remove it"

FileHashes = dict[Part, dict[str, str]]  # part → item name → sha256 of the image's bytes


def hash_items(listing: Listing, memo: Path | None) -> FileHashes:
    """sha256 of every item's bytes. memo: a JSON file kept across calls, made anew if damaged. Raises InputError: file gone."""
    remembered = _recall(memo)
    kept: dict[str, list[object]] = {}

    def of(item: Item) -> str:
        if not isinstance(item.content, Path):
            return sha256(f"{item.content.shape}".encode() + item.content.tobytes()).hexdigest()
        path = os.path.abspath(item.content)  # noqa: PTH100 (links stay as they are named)
        try:
            stat = item.content.stat()
            if not S_ISREG(stat.st_mode):  # reading one could wait without end
                raise InputError("the image is a pipe, a socket or a device", where=path, seen=item.name, fix=_MEND)
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
            known = remembered.get(path)
            value = str(known[3]) if known is not None and known[:3] == stamp else sha256_of(item.content)
        except PermissionError as error:
            raise EnvironmentProblem("the image may not be read", where=path, fix=f"chmod u+r '{path}'") from error
        except OSError as error:
            raise InputError("the image cannot be read", where=path, seen=error.strerror, fix=_MEND) from error
        kept[path] = [*stamp, value]
        return value

    hashes: FileHashes = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for part, items in listing.parts.items():
            in_files = any(isinstance(item.content, Path) for item in items[:1])  # what lies in memory waits for no disk
            found = pool.map(of, items) if in_files else map(of, items)
            hashes[part] = dict(zip((item.name for item in items), found, strict=True))
    if memo is not None and any(remembered.get(path) != entry for path, entry in kept.items()):
        write_atomic(memo, json.dumps({**remembered, **kept}))  # \u-escapes, as below
    return hashes


def dataset_digest(listing: Listing, hashes: FileHashes) -> str:
    """One hash of classes, names, labels and contents; the same wherever the folder lies and however it is listed."""
    parts = {
        part: sorted([item.name, item.label, hashes[part][item.name]] for item in items) for part, items in listing.parts.items()
    }
    printable = json.dumps([list(listing.classes), parts], sort_keys=True)  # \u-escapes: a name need not be valid UTF-8
    return digest(printable)


def duplicates(splits: Mapping[str, tuple[Item, ...]], hashes: FileHashes, part_of: Mapping[str, Part]) -> tuple[str, ...]:
    """Notes on images that lie twice with the same bytes: across splits (they make the measured accuracy too good) or classes.

    part_of: which part the items of a split were listed under.
    """
    where: dict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for name, items in splits.items():
        for item in items:
            where[hashes[part_of[name]][item.name]][name].append(item)
    notes = []
    for one, other in (("test", "train"), ("held_out", "train"), ("test", "held_out")):
        twice = [places[one] for places in where.values() if one in places and other in places]
        if count := sum(len(items) for items in twice):
            example = twice[0][0].name
            notes.append(
                f"data: {count} of {len(splits[one])} {one} images are also in {other}, byte for byte (such as {example}),"
                " which flatters accuracy"
            )
    torn = [places for places in where.values() if len({item.label for items in places.values() for item in items}) > 1]
    if torn:
        example = next(item.name for items in torn[0].values() for item in items)
        notes.append(f"data: {len(torn)} images lie in more than one class, byte for byte (such as {example})")
    return tuple(notes)


def _recall(memo: Path | None) -> dict[str, list[object]]:
    if memo is None:
        return {}
    try:
        document = json.loads(memo.read_bytes())
    except (OSError, ValueError):  # absent or damaged: it only saves time
        return {}
    if not isinstance(document, dict):
        return {}
    return {path: entry for path, entry in document.items() if isinstance(entry, list) and len(entry) == 4}
