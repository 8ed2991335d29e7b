"""The calls of a kit: each asks an agent of its own, and is kept with its answer and files before the next begins."""

import json
import os
import sys
from typing import Any, Dict, Iterator

from .asked import ask
from .integrity import sha256_of, write_aside

CALLS, PARTS = "calls", "parts"


def run(kit, script, chosen, said, work):
    """Make the calls that are not made yet, in order, up to the first that fails. Returns all that were made."""
    done, spent = [], [0.0, 0.0]
    for number, call in enumerate(script, 1):
        request = _filled(call["request"], kit, done, chosen["backend"], said)
        before = kept(work, number)
        if before and before["request"] == request and not failed(before):
            done.append(before)
            continue
        left = sum(one["expected_s"] for one in script[number - 1 :]) * (spent[0] / spent[1] if spent[1] else 1.0)
        print("[%d/%d] %s, about %s left" % (number, len(script), call["name"], _in_words(left)))
        sys.stdout.flush()
        answer = ask(work, call, request, _show)
        keep(work, number, answer)
        done.append(answer)
        if failed(answer):
            break
        spent = [spent[0] + answer["seconds"], spent[1] + call["expected_s"]]
    return done


def keep(work, number, answer):
    """Put the files an answer speaks of by their content, then the answer itself: one that is there is whole."""
    for described in files_of(answer["body"]):
        path, part = os.path.join(work, described["path"]), os.path.join(work, PARTS, described["sha256"])
        if os.path.isfile(path):
            os.replace(path, part)
    content = json.dumps(answer).encode()
    write_aside(_path(work, number), lambda file: file.write(content))


def kept(work, number):
    """The answer kept under this number, with all its files, whole to the byte; None where there is none."""
    try:
        with open(_path(work, number), "rb") as file:
            answer = json.loads(file.read().decode("utf-8"))
        whole = all(sha256_of(os.path.join(work, PARTS, one["sha256"])) == one["sha256"] for one in files_of(answer["body"]))
    except (OSError, ValueError):
        return None  # none yet; or the power went, and a file was still on its way to the disk
    return answer if whole else None


def failed(answer):
    """Whether a call has to be made again for its numbers: no reply, an error, or a process that failed."""
    body = answer["body"]
    return body is None or "error" in body or any(one not in (0, None) for one in _values(body, "status")) or (
        any(one is None for one in _values(body, "engine")))  # fmt: skip


def files_of(value: Any) -> Iterator[Dict[str, Any]]:
    """Every {"path", "sha256"} in a reply."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str) and isinstance(value.get("sha256"), str):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            for described in files_of(one):
                yield described


def _values(value, key):
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            for found in _values(one, key):
                yield found


def _filled(value, kit, done, backend, said):
    """A request of the script as this device makes it: files by name, engines as they were built, sidecars of this device."""
    if isinstance(value, list):
        return [_filled(one, kit, done, backend, said) for one in value]
    if not isinstance(value, dict):
        return value
    full = {key: _filled(one, kit, done, backend, said) for key, one in value.items() if not key.startswith("$")}
    if "$file" in value:
        sha256 = value["$file"]
        full.update(path="files/" + sha256 + kit["files"][sha256]["suffix"], sha256=sha256)
    if "$engine" in value:
        name, model = value["$engine"]
        sha256 = next(one for one in done if one["name"] == name)["body"]["models"][model]["engine"]["sha256"]
        full.update(path=PARTS + "/" + sha256, sha256=sha256)
    if "$sidecar" in value:  # what an engine rests on here, in the device's own words
        known = {key: said.get(key) for key in ("dpkg", "trtexec_banner", "tensorrt_python", "device_tree_model", "nvidia_smi")}
        full["timing_key"] = [known[key] for key in sorted(known)]
        mode = {"nvpmodel": said.get("nvpmodel"), "release": said.get("nv_tegra_release")}
        full["sidecar"] = dict(known, kit=1, onnx_sha256=full["onnx"]["sha256"], words=full["words"], **mode)
    if "backend" in full:
        full["backend"] = backend
    return full


def _show(seconds):
    """How long a call takes, on a terminal, in a line that the next one overwrites."""
    if sys.stdout.isatty():
        sys.stdout.write("\r      %s \r" % _in_words(seconds))
        sys.stdout.flush()


def _in_words(seconds):
    return "%d s" % seconds if seconds < 90 else "%d min" % round(seconds / 60.0)


def _path(work, number):
    return os.path.join(work, CALLS, "%03d.json" % number)
