"""The trtexec backend: runs the device's own trtexec with the words the host chose, and returns what it said and wrote.

Nothing is judged here but whether a file is an engine. Files are named without commas or colons: those cut trtexec's options.
"""

import base64
import json
import os
import shutil
import time
from typing import Optional

from . import children, engine_cache
from .arrays import raw_rows
from .integrity import write_aside
from .probe import below_root
from .problem import Problem, one_line

PLACES = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
_MOST_LINE = 300


def find() -> Optional[str]:
    """The path of this device's trtexec, None where there is none. It is on no PATH of a JetPack."""
    known = [below_root(path) for path in PLACES]
    return next((path for path in known if os.access(path, os.X_OK)), None if below_root("") else shutil.which("trtexec"))


def build(request, files):
    """Make an engine of each model, unless this device has built it before.

    request["models"]: {name: {"onnx", "words", "layer_words", "sidecar", "timing_key"}}. For each the reply says {"engine" (None
    where the build failed), "reused", "build_s", "status", "log", "layers", "profile"}; status and log are of the process that
    failed, else of the build. layers and profile come from a process of its own that loads the engine: so it can be loaded.
    """
    return {"models": {name: _built(name, one, request, files) for name, one in sorted(request["models"].items())}}


def timed(request, files, sample):
    """One process for each model and round, the models' order turned round every time. Stops after a process that failed.

    request["models"]: {name: engine described, with "words"}. Returns {"blocks": {name: [{"status", "log", "times"}, ...]},
    "spans": {name: [[start, end], ...]} in monotonic seconds, and "samples", "turns", "seconds", "waited_share" as timing.py}.
    """
    names, begun = sorted(request["models"]), time.monotonic()
    engines = {name: files.checked(request["models"][name]) for name in names}
    done = {"blocks": {name: [] for name in names}, "spans": {name: [] for name in names}, "samples": []}
    for number in range(request["plan"]["rounds"]):
        for index, name in enumerate(names if number % 2 == 0 else names[::-1]):
            block = "block-%d-%d" % (number, index)
            log, times = _nothing_there(files.path(block + ".log")), _nothing_there(files.path(block + ".json"))
            words = ["--loadEngine=" + engines[name], "--exportTimes=" + os.path.basename(times)]
            start = time.monotonic()
            status = _run(words + request["models"][name]["words"], log, request, files.workdir, name)
            done["spans"][name].append([start, time.monotonic()])
            done["blocks"][name].append({"status": status, "log": files.kept(log), "times": files.kept(times)})
            if status != 0:
                return _finished(done, begun)
        done["samples"].append(sample())
    return _finished(done, begun)


def infer(request, files):
    """One process an image; what each wrote, in the images' order, as one file of JSON lines {"json": text or null,
    "raw": {file name: base64}}.

    request: "engine", "inputs" (float32 .npy files), "input" (the engine's name for it), "words". Returns {"outputs": [that
    file], "status", "log"} of the last process: one that failed ends the work.
    """
    engine, log, lines, status = files.checked(request["engine"]), files.path("infer.log"), [], 0
    for described in request["inputs"]:
        for row in raw_rows(files.checked(described)):
            status = _infer_one(row, engine, log, request, files)
            if status != 0:
                break
            lines.append(_written(files.path("image")))
    path = files.path("outputs.jsonl")
    write_aside(path, lambda file: file.writelines(json.dumps(line).encode() + b"\n" for line in lines))
    return {"outputs": [files.kept(path)], "status": status, "log": files.kept(log)}


def _built(name, model, request, files):
    source, there = files.checked(model["onnx"]), engine_cache.reused(model["sidecar"], files)
    if there:
        return dict(there, reused=True, status=0)
    with engine_cache.building(model["timing_key"], os.path.getsize(source)) as folder:
        log, engine = os.path.join(folder, engine_cache.LOG), os.path.join(folder, engine_cache.ENGINE)
        start = time.monotonic()
        words = ["--onnx=" + source, "--saveEngine=" + engine_cache.ENGINE, "--timingCacheFile=" + engine_cache.TIMING]
        status = _run(words + model["words"], log, request, folder, name)
        build_s = round(time.monotonic() - start, 3)
        if status != 0 or not _passed(log) or not engine_cache.is_engine(engine):
            return engine_cache.failed(log, status, build_s, files)
        loaded = os.path.join(folder, "layers.log")
        exports = ["--exportLayerInfo=" + engine_cache.LAYERS, "--exportProfile=" + engine_cache.PROFILE]
        words = ["--loadEngine=" + engine_cache.ENGINE] + exports + model["layer_words"]
        status = _run(words, loaded, request, folder, name)
        if status != 0 or not _passed(loaded):
            return engine_cache.failed(loaded, status, build_s, files)
        profile = os.path.exists(os.path.join(folder, engine_cache.PROFILE))
        if _has_list(folder, engine_cache.LAYERS, "Layers") and (not profile or _has_list(folder, engine_cache.PROFILE)):
            kept = engine_cache.keep(folder, model["sidecar"], model["timing_key"], build_s, files)
        else:  # the host says why; what it cannot use must not be found again
            kept = engine_cache.handed_over(engine_cache.told(folder, model["sidecar"], build_s), files)
        return dict(kept, reused=False, status=status)


def _infer_one(row, engine, log, request, files):
    """Run one image in a folder of its own, emptied before: outputs of the one before must not be taken for this one's."""
    folder = files.path("image")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(os.path.join(folder, "input.bin"), "wb") as file:
        file.write(row)
    _nothing_there(log)
    words = ["--loadEngine=" + engine, "--loadInputs=%s:input.bin" % request["input"], "--exportOutput=output.json"]
    return _run(words + request["words"], log, request, folder, "infer")


def _nothing_there(path):
    """The path, without the file of an earlier process in this work folder: where trtexec writes none, that is no answer."""
    if os.path.exists(path):
        os.unlink(path)
    return path


def _written(folder):
    raw, text = {}, None
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            if name == "output.json":
                text = file.read().decode("utf-8", "replace")
            elif name.endswith(".raw") and ".output." in name:  # the input is written out too, and is many times as large
                raw[name] = base64.b64encode(file.read()).decode("ascii")
    return {"json": text, "raw": raw}


def _run(words, log, request, folder, name):
    """Raises Problem: "environment" (no trtexec), "device" (it was not done in time; its last line shown)."""
    program = find()
    if program is None:
        fix = "sudo apt-get install libnvinfer-bin"
        raise Problem("environment", "this device has no trtexec", where=name, seen="not in " + ", ".join(PLACES), fix=fix)
    try:
        status = children.run([program] + words, log, request["until"], folder)
    except OSError as error:
        raise Problem("device", "trtexec cannot be started: %s" % error.strerror, where=program)
    if status is None:
        fix = "look at what else runs on the device, or allow more time"
        raise Problem("device", "trtexec was not done in time", where=name, seen=_last_line(log), fix=fix)
    return status


def _passed(log):
    with open(log, "rb") as file:
        return b"&&&& PASSED" in file.read()


def _has_list(folder, name, key=None):
    """Whether trtexec exported a list that is not empty, or an object with one; numbers may be nan to nobody."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            text = file.read().decode("utf-8", "replace")
        found = json.loads(text, strict=False, parse_constant=int)  # strict: names hold control characters; int("NaN") raises
        return isinstance(found[key] if key else found, list) and bool(found)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _last_line(log):
    with open(log, "rb") as file:
        lines = file.read()[-(1 << 16) :].decode("utf-8", "replace").split("\n")
    said = [line for line in lines if line.strip()]
    return one_line(said[-1], _MOST_LINE) if said else "nothing"


def _finished(done, begun):
    return dict(done, seconds=time.monotonic() - begun, turns=[1] * len(done["samples"]), waited_share={})
