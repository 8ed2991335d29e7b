"""Which of a kit's scripts this device runs: by the version of its TensorRT, or by its CPU. Words were chosen on the host."""

import re

from . import probe
from .problem import Problem

_PACKAGE = re.compile(r"^(?:[a-z]i[ \t]+)?([a-z0-9][a-z0-9.+-]+)(?::\w+)?[ \t]+(\d\S*)", re.MULTILINE)
_BY_PYTHON = ((8, 5), (11, 0))  # from, and before


def chosen(kit, probed):
    """{"script": index into kit["scripts"], "backend"} for a device's probe. Raises Problem "environment": none is for it."""
    if kit["runtime"] == "onnxruntime":
        return {"script": kit["chosen_by"][probe.flavour_for(probed["identity"])], "backend": "onnxruntime"}
    said = probed.get("said", {})
    version = tensorrt_version(said)
    if version is None:
        fix = "sudo apt-get install tensorrt (libnvinfer-bin for trtexec alone)"
        raise Problem("environment", "this device has no TensorRT that tells its version", fix=fix)
    release = _release(version, kit)
    if release not in kit["chosen_by"]:
        seen, fix = ".".join(map(str, version)), "it knows " + ", ".join(sorted(kit["chosen_by"]))
        raise Problem("environment", "this kit knows no words for this TensorRT", seen=seen, fix=fix)
    return {"script": kit["chosen_by"][release], "backend": _backend(version, probed)}


def tensorrt_version(said):
    """Its numbers, as the host reads them from the same words; None where it does not tell."""
    packages = dict(_PACKAGE.findall(said.get("dpkg") or ""))
    library = next((version for name, version in packages.items() if re.match(r"libnvinfer\d+$", name)), None)
    packaged = numbers(packages.get("libnvinfer-bin") or library or "")
    banner = re.search(r"\[TensorRT v(\d{4,6})\]", said.get("trtexec_banner") or "")
    ran = numbers(banner.group(1)) if banner else None
    if ran and packaged and packaged[: len(ran)] == ran:
        return packaged
    in_python = numbers(said.get("tensorrt_python") or "")
    if in_python and not (ran or said.get("trtexec")) and (packaged or ())[: len(in_python)] != in_python:
        packaged = None  # what is packaged is not what Python brings along, and no trtexec would run it
    return ran or packaged or in_python


def numbers(text):
    """(10, 3, 0, 30) of "10.3.0.30-1+cuda12.5", (8, 2, 1) of "8201"; None for what is no version."""
    dotted = re.match(r"v?(\d{1,4}(?:\.\d{1,4}){1,3})", text.strip())
    if dotted:
        return tuple(int(part) for part in dotted.group(1).split("."))
    if not re.match(r"\d{4,6}$", text.strip()):
        return None
    value = int(text)
    by = 1000 if value < 10000 else 10000
    return value // by, value % by // 100, value % 100


def _release(version, kit):
    """Of a newer 10.x or 11.x the newest that is known."""
    newest = kit["newest"].get(str(version[0]))
    return "%d.%d" % (version[0], min(version[1], newest) if newest is not None else version[1])


def _backend(version, probed):
    said = probed.get("said", {})
    in_python = numbers(said.get("tensorrt_python") or "")
    if said.get("trtexec") and "numpy" not in probed.get("identity", {}).get("versions", {"numpy": ""}):
        in_python = None  # the Python API needs it, trtexec does not
    same = in_python is not None and in_python[:3] == version[:3]
    if same and _BY_PYTHON[0] <= version[:2] < _BY_PYTHON[1]:
        return "tensorrt"
    if not said.get("trtexec"):
        what = "there is no trtexec, and no Python module of a TensorRT that edgekd drives (8.5 to 10.x)"
        raise Problem("environment", what, seen=said.get("tensorrt_python"), fix="sudo apt-get install libnvinfer-bin")
    return "trtexec"
