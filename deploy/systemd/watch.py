#!/usr/bin/env python3
"""Classify every image that is put into a folder: a small service for systemd, and for any other supervisor.

    python3 watch.py BUNDLE PLACE

PLACE/in       put images here: write them under a name that begins with a dot, then rename; nothing half written is ever taken
PLACE/out      NAME.json appears for each: {"image", "label", "index", "probability", "milliseconds"} or {"image", "error"}
PLACE/done     where the images go then

It needs the bundle and, for its loader, numpy, Pillow and onnxruntime; nothing of edgekd is installed. Copy it, change it.
Exit status: 0 asked to stop (SIGTERM, SIGINT), 2 no bundle or no folder there, 5 a package is missing, 7 a damaged bundle.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
EVERY_S, AGAIN_S = 0.2, 2  # between two looks into the folder; after one that failed
LONGEST_NAME = 200  # bytes; the answer's name is longer, and file systems end at 255


def main(words):
    if len(words) != 2:
        return refuse(2, "usage: watch.py BUNDLE PLACE")
    bundle_folder, place = Path(words[0]), Path(words[1])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        sys.path.insert(0, loader_of(bundle_folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return refuse(
            7 if (bundle_folder / "manifest.json").exists() else 2, f"{bundle_folder}: no bundle, or a damaged one: {error}"
        )
    from edgekd_device import Problem, load, verify

    try:
        for folder in ("in", "out", "done"):
            (place / folder).mkdir(parents=True, exist_ok=True)
        differences = verify(str(bundle_folder))  # every byte and the golden cases, once, before the first image
        if differences:
            return refuse(7, f"{bundle_folder} is damaged: {'; '.join(differences)}")
        bundle = load(str(bundle_folder))
    except Problem as problem:
        return refuse(problem.exit_code, f"{problem} {problem.fix or ''}")
    except OSError as error:
        return refuse(2, f"{error.filename}: {error.strerror}")
    notify(f"READY=1\nSTATUS={bundle.flavour}, waiting in {place / 'in'}")
    print(f"ready: {bundle.flavour}, waiting in {place / 'in'}", flush=True)
    trouble = ""
    while not stop.is_set():
        before, trouble = trouble, ""
        try:
            for image in waiting(place / "in"):
                answer(bundle, image, place, Problem)
                notify("WATCHDOG=1")
                if stop.is_set():
                    break
        except OSError as error:  # a full disk, say. It may get better, and until then every image stays where it is
            trouble = f"{error.filename or place}: {error.strerror}; trying again every {AGAIN_S} s"
            if trouble != before:
                refuse(0, trouble)
        notify("WATCHDOG=1")
        stop.wait(AGAIN_S if trouble else EVERY_S)
    notify("STOPPING=1")
    return 0


def loader_of(folder):
    """The loader inside the bundle, compared with the manifest before it runs; it compares all else itself."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (promised,) = [one["sha256"] for one in manifest["files"] if one["path"] == "edgekd.pyz"]
    if hashlib.sha256((folder / "edgekd.pyz").read_bytes()).hexdigest() != promised:
        raise ValueError("edgekd.pyz has other bytes")
    return str(folder / "edgekd.pyz")


def waiting(folder):
    """Images in the folder, the longest waiting first; not hidden ones, which are still being written."""
    found = []
    for entry in os.scandir(str(folder)):
        plain = not entry.name.startswith(".") and len(os.fsencode(entry.name)) <= LONGEST_NAME
        if plain and entry.name.lower().endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # taken back meanwhile
                found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
    return [folder / name for _, name in sorted(found)]


def answer(bundle, image, place, problem):
    """Classify one image, write what is found aside, rename it, and move the image away."""
    started = time.perf_counter()
    found = {"image": image.name}
    try:
        best = bundle.predict([str(image)])[0]
        found.update((key, best[key]) for key in ("label", "index", "probability"))
        found["milliseconds"] = round(1000 * (time.perf_counter() - started), 3)
    except problem as error:
        if error.code != "input":
            raise
        found["error"] = error.what
    aside = place / "out" / f".{image.name}.json"
    aside.write_text(json.dumps(found) + "\n", encoding="utf-8")
    aside.replace(place / "out" / f"{image.name}.json")
    with contextlib.suppress(FileNotFoundError):  # taken back meanwhile
        image.replace(place / "done" / image.name)


def notify(message):
    """Tell systemd, where it listens (Type=notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)


def refuse(status, message):
    print("watch.py: " + " ".join(message.split()), file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
