"""A kit: one file that builds, times and asks models on a device without a network, and leaves one file for the host.

    python3 jetson-kit.pyz [--folder DIR]

It calls the agent as a host would, once for each call of its list, and keeps every answer in a work folder beside it: killed, it
goes on with the call it was at. Nothing is judged here but whether a call has failed; the host reads what the agent said.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import zipfile
import zlib

from . import archive, asked, kit_calls, kit_choice, kit_reply
from .integrity import sha256_of, write_aside
from .problem import Problem

CONTENT = "kit.json"
_DAMAGED = (KeyError, EOFError, zipfile.BadZipFile, zlib.error)
_STAY = ("nv_tegra_release", "nvpmodel", "dpkg", "trtexec_banner", "tensorrt_python")  # what calls that are done rest on


def main(arguments):
    """Run the kit; returns the exit status: 0 when every call was answered well, else that of the problem."""
    parser = argparse.ArgumentParser(description="Build, time and ask the models in this file, on this device.")
    where = "where its work and the reply go (default: where this file lies)"
    parser.add_argument("--folder", metavar="DIR", help=where)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Python 3.7
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _leave)
    own = os.path.abspath(archive.zip_path())
    folder = os.path.abspath(options.folder or os.path.dirname(own))
    try:
        return _run(own, folder)
    except OSError as error:
        fix = "free some space there, or name another with --folder DIR; then run the kit again: what is done stays"
        problem = Problem("device", "the disk refuses: %s" % error.strerror, error.filename or folder, fix=fix)
    except Problem as told:
        problem = told
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the kit again to go on\n")
        return 130
    for line in [str(problem)] + ["  %s: %s" % pair for pair in (("seen", problem.seen), ("try", problem.fix)) if pair[1]]:
        sys.stderr.write(line + "\n")
    return problem.exit_code


def _leave(number, frame):
    raise SystemExit(143)  # with blocks are left: the agent puts back what it changed


def _run(own, folder):
    with zipfile.ZipFile(own) as kit:
        try:
            content = kit.read(CONTENT)
            told, digest = json.loads(content.decode("utf-8")), hashlib.sha256(content).hexdigest()
        except _DAMAGED + (ValueError,) as error:
            raise Problem("integrity", "the kit is damaged", CONTENT, str(error), "copy it to the device again")
        work = os.path.join(folder, "%s-kit-%s" % (told["target"], digest[:12]))
        if "," in work or ":" in work:
            raise Problem("input", "trtexec knows no path with a comma or a colon", work, fix="move the kit to another folder")
        with _held(work):
            _unpack(kit, told, work)
            return _answer(told, content, digest, work, os.path.join(folder, told["target"] + "-reply.zip"))


def _answer(told, content, digest, work, reply):
    begun = time.time()
    print("%s for %s: %d images" % (told["recipe"], told["device"], told["images"]))
    probed = asked.ask(work, {"name": "probe", "verb": "probe", "request": {}}, {"deadline_s": 30})
    if kit_calls.failed(probed):
        asked.raise_told(probed)
    _require_the_same(probed["body"], work)
    chosen = kit_choice.chosen(told, probed["body"])
    kit_calls.keep(work, 0, probed)
    done = kit_calls.run(told, told["scripts"][chosen["script"]], chosen, probed["body"].get("said", {}), work)
    whole = not any(kit_calls.failed(one) for one in done)
    head = {"kit": digest, "target": told["target"], "finished": whole, "device_clock": [begun, time.time()]}
    kit_reply.write(reply, content, dict(head, calls=[probed] + done), work)
    print("written: " + reply)
    if not whole:
        print("the last call failed: run the kit again to try it again, or bring the reply as it is")
        asked.raise_told(done[-1])
    shutil.rmtree(work, ignore_errors=True)  # the next run measures anew
    print("bring it to the host, then there: edgekd pipeline RECIPE --reply " + os.path.basename(reply))
    return 0


def _require_the_same(body, work):
    """Drop the calls of a device that was in another state."""
    before = kit_calls.kept(work, 0)
    if before and any(before["body"].get("said", {}).get(key) != body.get("said", {}).get(key) for key in _STAY):
        print("the device is not as it was when the kit was stopped: beginning anew")
        shutil.rmtree(os.path.join(work, kit_calls.CALLS), ignore_errors=True)


@contextlib.contextmanager
def _held(work):
    """The work folder, with what the agent asks for in it, by this process alone. Raises Problem "locked"."""
    try:
        for name in (kit_calls.CALLS, kit_calls.PARTS, "files"):
            os.makedirs(os.path.join(work, name), mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(work, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem("input", "no work folder can be made: %s" % error.strerror, work, fix="--folder DIR")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Problem("locked", "this kit is running already", where=work)
    try:
        yield
    finally:
        os.close(lock)


def _unpack(kit, told, work):
    """The agent and the files of the kit, each compared with its sha256. Raises Problem "integrity"."""
    names = {sha256: "files/" + sha256 + one["suffix"] for sha256, one in told["files"].items()}
    for sha256, name in sorted(dict(names, **{told["agent"]: "edgekd.pyz"}).items()):
        path = os.path.join(work, name)
        if os.path.isfile(path) and sha256_of(path) == sha256:
            continue
        try:
            with kit.open(name) as source:
                digest = write_aside(path, lambda file: shutil.copyfileobj(source, file))  # noqa: B023  called at once
        except _DAMAGED as error:
            raise Problem("integrity", "the kit is damaged", name, str(error), "copy it to the device again")
        if digest != sha256:
            raise Problem("integrity", "a file of the kit has other bytes", name, digest, "copy the kit to the device again")
