#!/usr/bin/env python3
"""Classify images, folders of images or what a camera sees, with a bundle that edgekd made and nothing else of edgekd.

    python3 classify.py BUNDLE photo.jpg photos/        one line an image: file, label, probability, milliseconds
    python3 classify.py BUNDLE --camera                 one line a frame until Ctrl-C; needs OpenCV
    python3 classify.py BUNDLE photos/ --json           one JSON object a line, for other programs

Copy it, change it. Exit status: 0, 2 something could not be read, 5 a package is missing, 6 no camera, 7 a damaged bundle.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def main():
    parser = argparse.ArgumentParser(description="Classify with an edgekd bundle.")
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("images", type=Path, nargs="*", help="images and folders of images")
    parser.add_argument("--camera", nargs="?", const="0", metavar="N", help="a camera, a film or a URL (default: camera 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if bool(options.images) == (options.camera is not None):
        parser.error("give images, or --camera")
    load, Problem = loader_of(options.bundle)
    times, unread = [], 0
    try:
        bundle = load(str(options.bundle))
        for name, image in images_of(options.images) if options.images else frames_of(options.camera):
            try:
                if not times:
                    bundle.predict([image])  # the first of all loads libraries and lays out memory: not to be timed
                started = time.perf_counter()
                best = bundle.predict([image])[0]
            except Problem as problem:
                unread += 1
                show({"source": name, "error": problem.what}, options.json)
                continue
            times.append(1000 * (time.perf_counter() - started))
            found = {"label": best["label"], "probability": best["probability"], "milliseconds": times[-1]}
            show(dict({"source": name}, **found), options.json)
    except Problem as problem:
        stop(problem.exit_code, ". ".join(part for part in (str(problem), problem.fix) if part))
    except KeyboardInterrupt:
        pass  # how a camera is stopped
    if times:
        print(f"{len(times)} classified, median {statistics.median(times):.1f} ms from image to label", file=sys.stderr)
    sys.exit(2 if unread else 0)


def loader_of(folder):
    """load() and Problem of the loader inside the bundle. It compares every file it opens with the manifest; its own file is
    compared here, before it runs."""
    loader = folder / "edgekd.pyz"
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (promised,) = [one["sha256"] for one in manifest["files"] if one["path"] == loader.name]
    except (ValueError, KeyError, TypeError):
        stop(7, f"{folder}: the manifest cannot be read. Copy the bundle again")
    if hashlib.sha256(loader.read_bytes()).hexdigest() != promised:
        stop(7, f"{folder}: the bundle is damaged: {loader.name} has other bytes. Copy the bundle again")
    sys.path.insert(0, str(loader))
    from edgekd_device import Problem, load

    return load, Problem


def images_of(paths):
    """(name, path) of every image; a folder stands for the images in it, by name."""
    for path in paths:
        found = sorted(one for one in path.iterdir() if is_image(one)) if path.is_dir() else [path]
        if not found:
            stop(2, f"{path}: no images in this folder")
        for one in found:
            yield str(one), one


def is_image(path):
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def frames_of(camera):
    """(name, RGB uint8 [h, w, 3]) of every frame; camera: a number, or what else OpenCV can open."""
    try:
        import cv2
    except ImportError:
        stop(5, "a camera needs OpenCV: pip install opencv-python-headless")
    capture, number = cv2.VideoCapture(int(camera) if camera.isdigit() else camera), 0
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        number += 1
        yield f"frame {number}", frame[:, :, ::-1]  # OpenCV gives blue, green, red
    if not number:
        stop(6, f"camera {camera} gives no picture")


def show(result, as_json):
    if as_json:
        line = json.dumps(result)
    elif "error" in result:
        line = f"{result['source']}  cannot be read: {result['error']}"
    else:
        line = "{source}  {label}  {probability:.3f}  {milliseconds:.1f} ms".format(**result)
    printable = "".join(letter if letter.isprintable() else "?" for letter in line)  # no file name steers a terminal
    print(printable, flush=True, file=sys.stderr if "error" in result and not as_json else sys.stdout)


def stop(status, message):
    print(f"classify.py: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        stop(5, f"{error}. pip install -r requirements.txt")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our lines went away, as head does
    except OSError as error:
        stop(2, f"{error.filename}: {error.strerror}")
